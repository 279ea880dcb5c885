// Command slowclients attacks a server on loopback as one user, and measures small reads
// of another one: 500 slow bodies, 1,500 half-sent bodies without a key, and 100 lists of
// large jobs at once, for a bounded time.
//
//	make build && (cd bench && go run ./slowclients ../bin/hostler)
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	addr  = "127.0.0.1:19470"
	admin = "hst_"
	took  = 20 * time.Second
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: slowclients PROGRAM, such as ../bin/hostler")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(program string) error {
	dir, err := os.MkdirTemp("", "slowclients")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var out bytes.Buffer
	cmd := exec.Command(program, "serve", "--listen", addr, "--data", filepath.Join(dir, "data"))
	cmd.Env, cmd.Stdout = append(os.Environ(), "HOME="+dir), &out
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill() }()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		if r, err := http.Get("http://" + addr + "/readyz"); err == nil {
			_ = r.Body.Close()
			break
		}
	}
	key := regexp.MustCompile(admin + `\S+`).FindString(out.String())
	eve, err := prepare(key)
	if err != nil {
		return err
	}
	attack(eve)
	return measure(key, cmd.Process.Pid)
}

// prepare creates a viewer and jobs with large args, and returns the viewer's key.
func prepare(key string) (eve string, err error) {
	var made struct{ Secret string }
	for _, c := range [][2]string{
		{"/api/v1/users", `{"name":"eve","roles":{"default":"viewer"}}`},
		{"/api/v1/queues/default/pause", ``},
		{"/api/v1/keys", `{"name":"e","user":"eve"}`},
	} {
		if err := call(key, "POST", c[0], c[1], &made); err != nil {
			return "", err
		}
	}
	job := `{"action":"http_request","args":{"url":"http://192.0.2.1/","method":"POST","body":"` +
		strings.Repeat("x", 500_000) + `"}}`
	for range 60 {
		if err := call(key, "POST", "/api/v1/jobs", job, nil); err != nil {
			return "", err
		}
	}
	return made.Secret, nil
}

// attack starts the slow clients and the heavy lists.
func attack(eve string) {
	send := func(text string) {
		if c, err := net.DialTimeout("tcp", addr, 5*time.Second); err == nil {
			_, _ = io.WriteString(c, text) // the connection stays open
		}
	}
	go func() {
		for range 500 {
			send("POST /api/v1/keys HTTP/1.1\r\nHost: h\r\nX-API-KEY: " + eve +
				"\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{")
		}
		for range 1500 {
			send("GET /api/v1/version HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n" + strings.Repeat("x", 100_000))
		}
	}()
	for range 100 {
		go func() {
			for {
				if call(eve, "GET", "/api/v1/jobs?limit=1000", "", nil) != nil {
					<-time.After(100 * time.Millisecond)
				}
			}
		}()
	}
}

// measure reads as another user, and prints the latencies and the peak of memory.
func measure(key string, pid int) error {
	var all []time.Duration
	failed := 0
	for end := time.Now().Add(took); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		began := time.Now()
		if call(key, "GET", "/api/v1/me", "", nil) != nil {
			failed++
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%d reads, %d failed, p50 %v, p99 %v, max %v, peak RSS %s\n", len(all), failed,
		all[len(all)/2].Round(time.Millisecond), all[len(all)*99/100].Round(time.Millisecond),
		all[len(all)-1].Round(time.Millisecond), regexp.MustCompile(`VmHWM:\s+(\d+ kB)`).FindSubmatch(status)[1])
	return err
}

func call(key, method, path, body string, out any) error {
	req, err := http.NewRequest(method, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-API-KEY", key)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: 30 * time.Second}
	r, err := client.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", method, path, r.Status)
	}
	if out == nil {
		_, err = io.Copy(io.Discard, r.Body)
		return err
	}
	return json.NewDecoder(r.Body).Decode(out)
}
