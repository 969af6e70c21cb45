package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script/*.txtar against the shared fleet, one after
// the other; each leaves the fleet as it found it. Beside the commands of
// testscript there are:
//
//	exits CODE fairlead …           runs it, and asserts the exit code and that nothing is coloured
//	interrupt CODE PATTERN fairlead …
//	                                runs it, requests $SITE until stdout or stderr match, sends Ctrl-C
//	eventually PATTERN fairlead …   runs it until stdout matches
//	http URL PATTERN                asserts what a site answers
//	json, jsonlines                 assert that stdout is one JSON value, or one a line
//	capture NAME PATTERN            sets a variable to what a group matches in stdout
func TestScripts(t *testing.T) {
	f := fleetOfTwo(t)
	testscript.RunT(inOrder{t}, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			for _, v := range f.env() {
				name, value, _ := strings.Cut(v, "=")
				e.Setenv(name, value)
			}
			e.Setenv("DATA", f.data)
			e.Setenv("SITE", f.site())
			for i, name := range []string{"NODE1", "NODE2"} {
				e.Setenv(name, "http://"+f.node(i))
			}
			e.Setenv("ADDRESS", f.address)
			return os.Symlink(filepath.Join(repository(t), "examples"), filepath.Join(e.WorkDir, "examples"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "interrupt": scriptInterrupt, "eventually": scriptEventually, "http": scriptHTTP,
			"json": scriptJSON, "jsonlines": scriptJSONLines, "capture": scriptCapture,
		},
	})
}

// inOrder runs scripts one after the other.
type inOrder struct{ *testing.T }

func (inOrder) Parallel()     {}
func (inOrder) Verbose() bool { return testing.Verbose() }
func (t inOrder) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(inOrder{t}) })
}

func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	got := 0
	if exit != nil {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if strings.Contains(ts.ReadFile("stdout")+ts.ReadFile("stderr"), "\x1b") {
		ts.Fatalf("an escape code where no terminal is")
	}
}

func scriptEventually(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile("(?m)" + args[0])
	ts.Check(tryUntil(func() error {
		err := ts.Exec(args[1], args[2:]...)
		if re.MatchString(ts.ReadFile("stdout")) {
			return nil
		}
		return fmt.Errorf("stdout does not match %q (%v)", args[0], err)
	}))
}

func scriptInterrupt(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	path, err := exec.LookPath(args[2])
	ts.Check(err)
	cmd := exec.Command(path, args[3:]...)
	cmd.Args[0], cmd.Dir = args[2], ts.MkAbs(".")
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "PATH"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	done := make(chan struct{})
	both := newStream(done)
	out, errs := newStream(done), newStream(done)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(both, out), io.MultiWriter(both, errs)
	ts.Check(cmd.Start())
	p := &process{cmd: cmd, out: out, err: errs, done: done}
	go func() {
		_ = cmd.Wait() // the exit code says all
		p.code = cmd.ProcessState.ExitCode()
		close(done)
	}()
	asked := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(asked)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			_, _ = get(ts.Getenv("SITE")) // for a line in its log
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	_, err = both.find(args[1])
	close(stop)
	<-asked
	code, ierr := p.interrupt()
	_, _ = io.WriteString(ts.Stdout(), out.text())
	_, _ = io.WriteString(ts.Stderr(), errs.text())
	ts.Check(errors.Join(err, ierr))
	if code != want {
		ts.Fatalf("exit code %d, want %d\n%s", code, want, both.text())
	}
}

func scriptHTTP(ts *testscript.TestScript, neg bool, args []string) {
	text, err := get(args[0])
	matched := err == nil && regexp.MustCompile("(?m)"+args[1]).MatchString(text)
	if matched == neg {
		ts.Fatalf("%s answers %q (%v)", args[0], text, err)
	}
}

func get(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func scriptJSON(ts *testscript.TestScript, _ bool, _ []string) {
	if !json.Valid([]byte(ts.ReadFile("stdout"))) {
		ts.Fatalf("stdout is not JSON")
	}
}

func scriptJSONLines(ts *testscript.TestScript, _ bool, _ []string) {
	lines := 0
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		lines++
		if !json.Valid([]byte(line)) {
			ts.Fatalf("line %d is not JSON: %s", lines, line)
		}
	}
	if lines == 0 {
		ts.Fatalf("stdout is empty")
	}
}

func scriptCapture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("stdout does not match %q", args[1])
	}
	ts.Setenv(args[0], m[1])
}
