package adopt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"fairlead/pkg/adopt"
	"fairlead/pkg/fleet"
	"fairlead/pkg/nginx"
)

var update = flag.Bool("update", false, "write what configurations become into testdata")

// Each file under testdata is a configuration of the kind that people write,
// requests to it, and what it becomes. @DIR@, @PORT@ and @BACKEND@ are filled in.
func TestAdoptedConfigurationsGiveTheSameAnswers(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d cases: %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			c := load(t, path)
			before := c.original()
			result := c.convert()
			c.golden(path, result)
			after := c.adopted(result.Resources)
			for i, r := range c.requests {
				if before[i] != after[i] {
					t.Errorf("%s\nbefore: %s\nafter:  %s", r, before[i], after[i])
				}
			}
		})
	}
}

type testCase struct {
	t        *testing.T
	dir      string
	archive  *txtar.Archive
	replace  *strings.Replacer
	restore  *strings.Replacer
	ports    map[string]string
	requests []string
}

// load writes the files of a case below a directory that workers can reach.
func load(t *testing.T, path string) *testCase {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "fa")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &testCase{t: t, dir: dir, archive: archive, ports: map[string]string{}}
	pairs := []string{"@DIR@", dir}
	for _, name := range []string{"80", "8080", "8081", "443"} {
		c.ports[name] = freePort(t)
		pairs = append(pairs, "@"+name+"@", c.ports[name])
	}
	for _, name := range []string{"BACKEND", "BACKEND2"} {
		pairs = append(pairs, "@"+name+"@", backend(t))
	}
	c.replace = strings.NewReplacer(pairs...)
	var back []string
	for i := 0; i < len(pairs); i += 2 {
		back = append(back, pairs[i+1], pairs[i])
		if strings.Contains(pairs[i], "BACKEND") { // as a name
			back = append(back, strings.NewReplacer(".", "-", ":", "-").Replace(pairs[i+1]), strings.Trim(pairs[i], "@"))
		}
	}
	c.restore = strings.NewReplacer(back...)
	selfSigned(t, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	for _, f := range archive.Files {
		switch f.Name {
		case "requests":
			c.requests = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
			continue
		case "becomes":
			continue
		}
		at := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(c.replace.Replace(string(f.Data))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// backend answers with what it was asked.
func backend(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s host=%s real=%s thing=%s\n", r.Method, r.URL, r.Host, r.Header.Get("X-Real-IP"), r.Header.Get("X-Thing"))
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// selfSigned writes a certificate and its key.
func selfSigned(t *testing.T, certFile, keyFile string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"*.example.org"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// original are the answers of an nginx that runs the configuration itself.
func (c *testCase) original() []string {
	c.t.Helper()
	cmd := exec.Command("nginx", "-p", c.dir, "-c", filepath.Join(c.dir, "nginx.conf"), "-g", "daemon off;", "-e", "stderr")
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if path, err := exec.LookPath("nginx"); err != nil {
		cmd.Path, cmd.Err = "/usr/sbin/nginx", nil
	} else {
		cmd.Path = path
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		conn, err := net.Dial("tcp", "127.0.0.1:"+c.ports["80"])
		if err == nil {
			conn.Close()
			break
		}
		select {
		case err := <-ended:
			c.t.Fatalf("nginx ended: %v\n%s", err, said.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	answers := c.ask()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		c.t.Fatal(err)
	}
	<-ended
	return answers
}

func (c *testCase) convert() adopt.Result {
	c.t.Helper()
	conf, err := adopt.Read(filepath.Join(c.dir, "nginx.conf"), c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	return conf.Convert(adopt.Options{Selector: "node=ship1"})
}

// golden compares what a configuration becomes with what was reviewed.
func (c *testCase) golden(path string, r adopt.Result) {
	c.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d servers are typed\n", r.Typed, r.Servers)
	for _, resource := range r.Resources {
		fmt.Fprintln(&b, resource.ID())
	}
	for _, n := range r.Notes {
		fmt.Fprintln(&b, n)
	}
	got := c.restore.Replace(b.String())
	was := ""
	c.archive.Files = slices.DeleteFunc(c.archive.Files, func(f txtar.File) bool {
		if f.Name == "becomes" {
			was = string(f.Data)
		}
		return f.Name == "becomes"
	})
	if *update {
		c.archive.Files = append(c.archive.Files, txtar.File{Name: "becomes", Data: []byte(got)})
		if err := os.WriteFile(path, txtar.Format(c.archive), 0o644); err != nil {
			c.t.Fatal(err)
		}
	} else if got != was {
		c.t.Errorf("becomes\n%s\nwant\n%s", got, was)
	}
}

// adopted are the answers of an nginx that Fairlead manages.
func (c *testCase) adopted(resources []fleet.Resource) []string {
	c.t.Helper()
	for _, r := range resources {
		if faults := r.Validate(); len(faults) > 0 {
			c.t.Fatal(faults)
		}
	}
	bundle, err := nginx.Render("", resources)
	if err != nil {
		c.t.Fatal(err)
	}
	var log strings.Builder
	e, err := nginx.New(nginx.Config{State: filepath.Join(c.dir, "fl/state"), Conf: filepath.Join(c.dir, "fl/conf"), Run: filepath.Join(c.dir, "fl/run"),
		Logs: filepath.Join(c.dir, "fl/logs"), Workers: 1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
		stop, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		if err := e.Stop(stop); err != nil {
			c.t.Error(err, log.String())
		}
	}()
	select {
	case <-e.Ready():
	case err := <-ended:
		c.t.Fatal(err)
	}
	if _, err := e.Apply(c.t.Context(), 1, bundle); err != nil {
		c.t.Fatal(err)
	}
	return c.ask()
}

var direct = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // what is compared is what nginx answers
	Timeout:       10 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// ask sends the requests, "PORT HOST PATH [HEADER: VALUE]", and returns what
// of each answer a visitor would notice.
func (c *testCase) ask() []string {
	c.t.Helper()
	answers := make([]string, len(c.requests))
	for i, line := range c.requests {
		fields := strings.SplitN(line, " ", 4)
		scheme := "http"
		if fields[0] == "443" {
			scheme = "https"
		}
		req, err := http.NewRequest(http.MethodGet, scheme+"://127.0.0.1:"+c.ports[fields[0]]+fields[2], nil)
		if err != nil {
			c.t.Fatal(err)
		}
		req.Host = fields[1]
		if len(fields) > 3 {
			name, value, _ := strings.Cut(fields[3], ": ")
			req.Header.Set(name, value)
		}
		resp, err := direct.Do(req)
		if err != nil {
			answers[i] = "no answer: " + err.Error()
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		for _, name := range []string{"Date", "Server", "Connection"} {
			resp.Header.Del(name)
		}
		// nginx's own pages bear its version where a host shows it.
		text := strings.ReplaceAll(string(body), "nginx/1.22.1", "nginx")
		resp.Header.Del("Content-Length")
		answers[i] = fmt.Sprint(resp.StatusCode, " ", resp.Header, " ", text)
	}
	return answers
}
