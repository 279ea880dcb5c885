package cli

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// probeTime is how long a probe may take while clients hold all connections.
const probeTime = 5 * time.Second

// exhaust N KEY... opens N connections of each kind that holds one, from several
// addresses, and demands after each kind that the server answers a probe. The keys open
// streams of events.
func exhaust(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exhaust N KEY...")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	kinds := []string{
		"", // idle
		"GET /livez HTTP/1.1\r\nHost: x\r\n",
		"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nX-Api-Key: " + args[1] +
			"\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
	}
	for _, key := range args[1:] {
		kinds = append(kinds, "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nX-Api-Key: "+key+"\r\n\r\n")
	}
	for _, request := range kinds {
		for i := range n {
			holdConn(ts, byte(10+i%4), request)
		}
		ts.Check(probe(ts.Getenv("PORT")))
	}
}

// holdConn opens a connection from 127.0.0.host until the end of the script. It waits for
// the beginning of an answer to a whole request. The server may close it at any time.
func holdConn(ts *testscript.TestScript, host byte, request string) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}, Timeout: probeTime}
	c, err := d.Dial("tcp", "127.0.0.1:"+ts.Getenv("PORT"))
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
	_, err = c.Write([]byte(request))
	if err == nil && strings.HasPrefix(request, "GET") && strings.HasSuffix(request, "\r\n\r\n") {
		ts.Check(c.SetReadDeadline(time.Now().Add(probeTime)))
		_, _ = bufio.NewReader(c).ReadString('\n')
	}
}

func probe(port string) error {
	c := http.Client{Timeout: probeTime, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get("http://127.0.0.1:" + port + "/livez")
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("/livez: %s, %w", res.Status, err)
	}
	return nil
}
