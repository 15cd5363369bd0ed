package store

// A Priority is the priority of a stored record. Only everfresh's Query and Purge use
// it, to select records. The zero value, which a record has if none was set, counts
// as [Normal].
type Priority uint8

// The priorities, from lowest to highest.
const (
	Low Priority = iota + 1
	Normal
	High
)

// String returns the name of p in lower case. An invalid priority counts as [Normal].
func (p Priority) String() string {
	switch p {
	case Low:
		return "low"
	case High:
		return "high"
	default:
		return "normal"
	}
}

// OrNormal returns p, or [Normal] if p is zero or invalid.
func (p Priority) OrNormal() Priority {
	if p < Low || p > High {
		return Normal
	}
	return p
}
