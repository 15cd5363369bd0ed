package store

// A Condition is the state in which a key must be for a write to take effect. The
// zero value is [Any]. Conditions are plain values: they may be copied, compared
// with ==, and used concurrently.
type Condition struct {
	conditional bool
	want        Version // "" if conditional is false
}

// Any is the absence of a condition: the write takes effect in any state of the key.
func Any() Condition { return Condition{} }

// IfAbsent lets a write take effect only if the key is absent.
func IfAbsent() Condition { return IfVersion("") }

// IfVersion lets a write take effect only if v is the current version of the
// key. IfVersion("") is [IfAbsent], so the Version of an [Item] can be used whether
// or not the item existed.
func IfVersion(v Version) Condition { return Condition{conditional: true, want: v} }

// Holds reports whether c allows a write to a key whose current version is given;
// "" means that the key is absent. A store calls Holds in the same atomic step as
// the write.
func (c Condition) Holds(current Version) bool {
	return !c.conditional || c.want == current
}

// Want returns the version that c requires; "" means that the key must be absent.
// For [Any], ok is false. Want is for stores whose database checks the condition
// itself, in a query or a script.
func (c Condition) Want() (v Version, ok bool) { return c.want, c.conditional }
