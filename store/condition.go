package store

// A Condition says in which state a key must be for a write to take effect. The
// zero value is [Any]. Conditions are plain values: they may be copied, compared
// with ==, and used at once from many goroutines.
type Condition struct {
	conditional bool
	want        Version // "" unless conditional
}

// Any is no condition: the write takes effect whatever is there.
func Any() Condition { return Condition{} }

// IfAbsent lets a write take effect only if the key is absent.
func IfAbsent() Condition { return IfVersion("") }

// IfVersion lets a write take effect only if v is the current version of the
// key. IfVersion("") is [IfAbsent], so the Version of an [Item] serves whether
// or not the item was there.
func IfVersion(v Version) Condition { return Condition{conditional: true, want: v} }

// Holds reports whether c allows a write to a key whose version is current,
// where "" means that the key is absent. A store calls it in the same atomic
// step as the write.
func (c Condition) Holds(current Version) bool {
	return !c.conditional || c.want == current
}

// Want returns the version that c asks for, where "" means that the key must be
// absent. Of [Any], ok is false. It is for stores whose engine checks the
// condition itself, in a query or a script.
func (c Condition) Want() (v Version, ok bool) { return c.want, c.conditional }
