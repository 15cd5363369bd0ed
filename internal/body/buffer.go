package body

// firstPiece is large enough for most key sets and tokens without a copy.
const firstPiece = 2 << 10

// buffer collects up to limit bytes in pieces, each half as long as all before it.
// Appending to one slice would copy and discard several times as much; the pieces and
// the joined result together stay below twice the limit.
type buffer struct {
	full  [][]byte // earlier pieces, without room
	piece []byte   // the piece being filled
	total int64    // bytes in full and piece
	limit int64
	// probe takes the byte after a full piece, so that the end of the body can
	// be seen before there is a new piece, and one byte past limit is enough.
	probe [1]byte
}

// init makes room for length bytes, or for some if length is 0. The limit of a
// body of known length is that length.
func (b *buffer) init(length, limit int64) {
	b.limit = limit
	if length > 0 {
		b.limit = length
	}
	first := b.limit
	if length == 0 || length > believed {
		first = min(first, firstPiece)
	}
	b.piece = make([]byte, 0, first)
}

// room returns the memory to read into, which is never empty.
func (b *buffer) room() []byte {
	if len(b.piece) < cap(b.piece) {
		return b.piece[len(b.piece):cap(b.piece)]
	}
	return b.probe[:]
}

// add takes the n bytes, at least one, that were read into room. It reports
// whether they are within the limit.
func (b *buffer) add(n int) bool {
	if b.total == b.limit {
		return false
	}
	b.total += int64(n)
	if len(b.piece) < cap(b.piece) {
		b.piece = b.piece[:len(b.piece)+n]
		return true
	}
	before := b.total - int64(n)
	b.full = append(b.full, b.piece)
	b.piece = append(make([]byte, 0, min(max(before/2, firstPiece), b.limit-before)), b.probe[0])
	return true
}

// bytes returns what was collected, copied if the memory around it is much
// larger. It is called once, at the end.
func (b *buffer) bytes() []byte {
	if len(b.full) == 0 && cap(b.piece) <= len(b.piece)+len(b.piece)/4+512 {
		return b.piece
	}
	data := make([]byte, 0, b.total)
	for _, piece := range b.full {
		data = append(data, piece...)
	}
	return append(data, b.piece...)
}
