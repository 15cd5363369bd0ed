package body

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"sync"
)

var gzipMagic = []byte{0x1f, 0x8b}

// members decodes a gzip stream of one or more members (RFC 1952, section 2.2).
// The multistream mode of [gzip.Reader] is not used, because it cannot tell a
// few stray bytes after the stream from a member that was cut.
type members struct {
	src  *bufio.Reader
	gz   gzip.Reader
	open bool // within a member
}

// decoders keeps *members for reuse: the tables and the window of one take 45 KB, and
// making them takes several times as long as decoding a key set.
var decoders sync.Pool

func openMembers(src io.Reader) *members {
	m, ok := decoders.Get().(*members)
	if !ok {
		m = &members{src: bufio.NewReader(nil)}
	}
	m.src.Reset(src)
	m.open = false
	return m
}

// release makes m available to a later body, without references to this one.
func (m *members) release() {
	m.src.Reset(nil)
	m.gz.Header = gzip.Header{}
	decoders.Put(m)
}

// Read implements [io.Reader]. A stream without any member is empty.
func (m *members) Read(p []byte) (int, error) {
	for {
		if !m.open {
			if err := m.next(); err != nil {
				return 0, err
			}
		}
		n, err := m.gz.Read(p)
		if err == io.EOF { //nolint:errorlint // gzip.Reader promises io.EOF itself at the end of a member.
			m.open, err = false, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next opens the next member, or returns io.EOF if there is none.
func (m *members) next() error {
	head, err := m.src.Peek(len(gzipMagic))
	if len(head) == 0 {
		return err
	}
	if !bytes.HasPrefix(gzipMagic, head) {
		return gzip.ErrHeader
	}
	if err = m.gz.Reset(m.src); err != nil {
		return err
	}
	m.gz.Multistream(false)
	m.open = true
	return nil
}
