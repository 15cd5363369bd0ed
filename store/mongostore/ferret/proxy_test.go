package ferret_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// A fault is what the proxy does to a message.
type fault int

const (
	none         fault = iota
	dropRequest        // cuts the connection before the server has the request
	dropResponse       // cuts it after the server has answered
	hang               // never answers; the server has done it
)

// A proxy stands between clients and one server, and lets one write through at a time,
// over all connections: from the request to its answer. Reads pass freely, since the
// server reads in one step.
type proxy struct {
	addr, upstream string

	mu     sync.Mutex             // guards faults
	write  sync.Mutex             // held while a write is in progress
	faults func(cmd string) fault // guarded by mu; nil for none
	ln     net.Listener           // guarded by state
	conns  map[net.Conn]struct{}  // guarded by state; nil while the proxy is down
	state  sync.Mutex
	wg     sync.WaitGroup
}

// startProxy listens until the test ends.
func startProxy(t *testing.T, upstream string) *proxy {
	p := &proxy{addr: "127.0.0.1:0", upstream: upstream}
	p.up(t)
	t.Cleanup(p.down)
	return p
}

// up listens, at the same address as before if it was down.
func (p *proxy) up(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.state.Lock()
	defer p.state.Unlock()
	p.addr, p.ln, p.conns = ln.Addr().String(), ln, make(map[net.Conn]struct{})
	p.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // it is down
			}
			p.wg.Go(func() { p.serve(conn) })
		}
	})
}

// down closes everything, as a server that was killed does.
func (p *proxy) down() {
	p.state.Lock()
	p.ln.Close()
	for conn := range p.conns {
		conn.Close()
	}
	p.conns = nil
	p.state.Unlock()
	p.wg.Wait()
}

// fail sets what happens to the messages of each command; nil ends it.
func (p *proxy) fail(faults func(cmd string) fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = faults
}

// keep has down close conn. It reports false if the proxy is down.
func (p *proxy) keep(conn net.Conn) bool {
	p.state.Lock()
	defer p.state.Unlock()
	if p.conns == nil {
		return false
	}
	p.conns[conn] = struct{}{}
	return true
}

// serve passes messages on until a side closes its connection.
func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.keep(client) || !p.keep(server) {
		return
	}
	for {
		request, err := readMessage(client)
		if err != nil {
			return
		}
		response, fault := p.exchange(server, request)
		switch {
		case fault == hang:
			_, _ = io.Copy(io.Discard, client) // until the client gives up
			return
		case response == nil:
			return
		}
		if _, err := client.Write(response); err != nil {
			return
		}
	}
}

// exchange returns no response if the connection must end.
func (p *proxy) exchange(server net.Conn, request []byte) ([]byte, fault) {
	noTimeLimit(request)
	cmd := command(request)
	fault := p.faultOf(cmd)
	if fault == dropRequest {
		return nil, fault
	}
	switch cmd {
	case "insert", "update", "delete":
		p.write.Lock()
		defer p.write.Unlock()
	}
	if _, err := server.Write(request); err != nil {
		return nil, fault
	}
	response, err := readMessage(server)
	if err != nil || fault == dropResponse {
		return nil, fault
	}
	return response, fault
}

func (p *proxy) faultOf(cmd string) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.faults == nil {
		return none
	}
	return p.faults(cmd)
}

// readMessage returns one message of MongoDB's wire protocol, which begins with its
// length.
func readMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length < 16 || length > 48_000_000 {
		return nil, io.ErrUnexpectedEOF
	}
	message := make([]byte, length)
	copy(message, head[:])
	_, err := io.ReadFull(r, message[4:])
	return message, err
}

// noTimeLimit takes away the time limit of a read, which the driver derives from the
// context: when it is up, FerretDB interrupts a connection to SQLite that may serve
// another call by then.
func noTimeLimit(message []byte) {
	field := []byte("\x12maxTimeMS\x00") // a 64-bit integer
	if at := bytes.Index(message, field); at >= 0 && len(message) >= at+len(field)+8 {
		clear(message[at+len(field):][:8])
	}
}

// command returns the name of the first field of an OP_MSG: after a head of 16 bytes,
// flags of 4 and a byte for the kind of the section comes a document.
func command(message []byte) string {
	const opMsg, first = 2013, 16 + 4 + 1 + 4 + 1
	if len(message) < first || binary.LittleEndian.Uint32(message[12:]) != opMsg {
		return ""
	}
	name, _, _ := bytes.Cut(message[first:], []byte{0})
	return string(name)
}
