package handlers_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"testing"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
)

// shell runs a program on a node that allows sh and uname.
func shell(t *testing.T, argv []string, seconds int) (handlers.Result, handlers.ShellResult, error) {
	t.Helper()
	body, err := json.Marshal(handlers.ShellCommandBody{Argv: argv, TimeoutSeconds: seconds})
	if err != nil {
		t.Fatal(err)
	}
	r, err := run(t, &handlers.Node{Programs: []string{"/bin/sh", "/usr/bin/uname"}}, "shellcommand", string(body))
	out, _ := r.Data.(handlers.ShellResult)
	if data := handlers.DataOf(err); data != nil {
		if err := json.Unmarshal(data, &out); err != nil {
			t.Fatal(err)
		}
	}
	return r, out, err
}

func TestAProgramIsAllowedByNameAndByPath(t *testing.T) {
	for _, name := range []string{"uname", "/usr/bin/uname"} {
		r, out, err := shell(t, []string{name, "-s"}, 0)
		if err != nil || out.Stdout != "Linux\n" || !r.Changed || r.Message != "/usr/bin/uname ended with exit code 0" {
			t.Errorf("%s: %+v %+v, %v", name, r, out, err)
		}
	}
}

func TestAProgramThatIsNotAllowedIsRefusedAndTheListTold(t *testing.T) {
	for _, name := range []string{"rm", "/bin/rm", "../bin/sh", "/usr/bin/../bin/uname", "bin/sh", "SH", "sh ", "uname -a"} {
		_, _, err := shell(t, []string{name}, 0)
		kind(t, err, fleet.Refused)
		if err == nil || !strings.Contains(err.Error(), strconv.Quote(name)) || !strings.Contains(err.Error(), "(/bin/sh, /usr/bin/uname)") {
			t.Errorf("%q: %v", name, err)
		}
	}
	_, err := run(t, &handlers.Node{}, "shellcommand", `{"argv":["sh"]}`)
	if err == nil || !strings.Contains(err.Error(), "(none)") {
		t.Error(err)
	}
}

func TestABodyThatCannotBeRunIsInvalid(t *testing.T) {
	for name, test := range map[string]struct {
		argv    []string
		seconds int
		says    string
	}{
		"nothing":       {nil, 0, "argv is empty"},
		"no program":    {[]string{""}, 0, "argv is empty"},
		"a NUL":         {[]string{"sh", "a\x00b"}, 0, "NUL"},
		"negative time": {[]string{"sh"}, -1, "timeoutSeconds is -1: use 1 to 3600"},
		"too much time": {[]string{"sh"}, 3601, "timeoutSeconds is 3601: use 1 to 3600"},
	} {
		_, _, err := shell(t, test.argv, test.seconds)
		kind(t, err, fleet.Invalid)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoShellReadsTheArguments(t *testing.T) {
	_, out, err := shell(t, []string{"sh", "-c", `printf '%s|' "$@"`, "sh", "$HOME", "*", "a b", "; echo x", "`id`"}, 0)
	if want := "$HOME|*|a b|; echo x|`id`|"; err != nil || out.Stdout != want {
		t.Errorf("printed %q, %v", out.Stdout, err)
	}
}

func TestAProgramHasNoInput(t *testing.T) {
	_, out, err := shell(t, []string{"sh", "-c", "cat; echo end"}, 10)
	if err != nil || out.Stdout != "end\n" {
		t.Errorf("printed %q, %v", out.Stdout, err)
	}
}

func TestAnExitCodeOrASignalIsAFailureThatCarriesTheOutput(t *testing.T) {
	_, out, err := shell(t, []string{"sh", "-c", "echo out; echo why >&2; exit 7"}, 0)
	kind(t, err, fleet.Failed)
	if out.ExitCode != 7 || out.Stdout != "out\n" || out.Stderr != "why\n" || err.Error() != "/bin/sh ended with exit code 7" {
		t.Errorf("%+v, %v", out, err)
	}
	_, out, err = shell(t, []string{"sh", "-c", "kill -9 $$"}, 0)
	kind(t, err, fleet.Failed)
	if out.Signal != "SIGKILL" || err.Error() != "/bin/sh was ended by signal SIGKILL" {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestWhenTheTimeIsOverGrandchildrenEndToo(t *testing.T) {
	_, out, err := shell(t, []string{"sh", "-c", "sh -c 'sleep 1000 & echo $!; wait' & wait"}, 1)
	kind(t, err, fleet.Timeout)
	if err == nil || !strings.Contains(err.Error(), "did not end within 1s") {
		t.Error(err)
	}
	pid, perr := strconv.Atoi(strings.TrimSpace(out.Stdout))
	if perr != nil {
		t.Fatalf("printed %q before its end", out.Stdout)
	}
	p, err := host.OpenProcess(pid)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Errorf("the grandchild lives: %v", err)
	}
}

func TestLongOutputIsCutAndItsDigestIsOfTheWhole(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		whole  string
	}{
		"one stream":         {`head -c 300000 /dev/zero | tr '\0' x`, strings.Repeat("x", 300000)},
		"the other":          {`head -c 300000 /dev/zero | tr '\0' x >&2`, strings.Repeat("x", 300000)},
		"what grows as JSON": {`head -c 200000 /dev/zero | tr '\0' '<'`, strings.Repeat("<", 200000)},
		"what is no text":    {`head -c 250000 /dev/zero`, strings.Repeat("\x00", 250000)},
	} {
		t.Run(name, func(t *testing.T) {
			r, out, err := shell(t, []string{"sh", "-c", test.script}, 20)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256([]byte(test.whole))
			if !out.Truncated || out.OutputBytes != int64(len(test.whole)) || out.OutputSHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("truncated %v, %d bytes, digest %s", out.Truncated, out.OutputBytes, out.OutputSHA256)
			}
			if kept := len(out.Stdout) + len(out.Stderr); kept > 256<<10 || kept < 50000 || !strings.HasPrefix(test.whole, out.Stdout+out.Stderr) {
				t.Errorf("kept are %d bytes", kept)
			}
			if !strings.Contains(r.Message, out.OutputSHA256) {
				t.Errorf("the message does not say so: %s", r.Message)
			}
			if data, _ := json.Marshal(out); len(data) > message.MaxBody {
				t.Errorf("as JSON it has %d bytes", len(data))
			}
		})
	}
	_, out, err := shell(t, []string{"sh", "-c", "head -c 262144 /dev/zero | tr '\\0' x"}, 20)
	if err != nil || out.Truncated || len(out.Stdout) != 256<<10 {
		t.Errorf("256 KiB: truncated %v, %d bytes, %v", out.Truncated, len(out.Stdout), err)
	}
}

func TestACancelledProgramIsAFailureAndNoTimeout(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := &handlers.Node{Programs: []string{"/bin/sh"}}
	_, err := command(t, ctx, n, "shellcommand", handlers.Command[json.RawMessage]{Body: json.RawMessage(`{"argv":["sh","-c","sleep 1000"]}`)})
	kind(t, err, fleet.Failed)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestOnlyAFailureWithDataHasData(t *testing.T) {
	for _, err := range []error{nil, errors.New("x"), fleet.Errorf(fleet.Failed, "x")} {
		if data := handlers.DataOf(err); data != nil {
			t.Errorf("%v has %s", err, data)
		}
	}
}
