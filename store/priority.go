package store

// A Priority says how dear a stored record is to its owner. It decides nothing but
// what a clean-up by priority removes; see everfresh's Query. The zero value is that
// of a record without one, and counts as [Normal].
type Priority uint8

// The priorities, in rising order.
const (
	Low Priority = iota + 1
	Normal
	High
)

// String returns the name of p in lower case.
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

// OrNormal returns p, or [Normal] if p is zero or no priority.
func (p Priority) OrNormal() Priority {
	if p < Low || p > High {
		return Normal
	}
	return p
}
