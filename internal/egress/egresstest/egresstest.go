// Package egresstest has a DNS resolver for tests of where connections go.
package egresstest

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
)

// Resolver returns a resolver that answers every name with these IPv4 addresses in turn, then
// always with the last one, from a real DNS server on loopback.
func Resolver(t testing.TB, answers ...string) *net.Resolver {
	t.Helper()
	srv, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	var asked atomic.Int64
	go func() {
		query := make([]byte, 512)
		for {
			n, from, err := srv.ReadFrom(query)
			if err != nil {
				return
			}
			if reply := answer(query[:n], func() netip.Addr {
				return netip.MustParseAddr(answers[min(int(asked.Add(1)), len(answers))-1])
			}); reply != nil {
				_, _ = srv.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", srv.LocalAddr().String())
	}}
}

// answer returns the reply to a query: one address for an A record, none for others
// (RFC 1035 §4.1).
func answer(query []byte, next func() netip.Addr) []byte {
	end := 12
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root, type and class
	if end > len(query) {
		return nil
	}
	reply := append([]byte(nil), query[:end]...)
	binary.BigEndian.PutUint16(reply[2:], 0x8180) // a recursive answer without error
	clear(reply[6:12])
	if binary.BigEndian.Uint16(query[end-4:]) != 1 {
		return reply
	}
	reply[7] = 1
	reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4) // the name asked for, A, IN, no caching
	return append(reply, next().AsSlice()...)
}
