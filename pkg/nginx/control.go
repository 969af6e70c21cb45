package nginx

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"

	"fairlead/pkg/syslog"
)

// control is nginx's own word: the lines that its main context logs, which
// arrive as datagrams some milliseconds after the fact.
type control struct {
	master     atomic.Int64 // only its complaints count: a worker's are about requests
	complaints chan complaint
	exits      atomic.Uint64     // workers that died of a signal
	killed     atomic.Uint64     // and those of SIGKILL
	reads      atomic.Int64      // how often the master has told that it reads its configuration again
	started    map[int]int64     // reads when a worker was started, by pid, for handle alone
	dying      []complaint       // the last [emerg] and [alert] lines of others, for handle alone
	heard      func(line string) // told of every line of the master
	log        *slog.Logger
	crashed    func(text string) // told of each worker that a signal ended

	current *syslog.Listener // its user holds the engine's lock
	next    chan *syslog.Listener
}

// complaint is an [emerg] or [alert] line of the master.
type complaint struct {
	pid   int // who said it
	level string
	text  string // "[emerg] 4711#4711: bind() to …"; the last words of the worker that it is about before it
	read  int64  // reads when the worker that it is about was started; the newest where that is not known
}

// errorLine is how nginx writes its error log, the time aside.
var errorLine = regexp.MustCompile(`\[([a-z]+)\] (\d+)#\d+: `)

// listen opens the socket for the engine's user and the workers' group alone:
// who can write to it can make an apply fail.
func (c *control) listen(path string, workers account, log *slog.Logger) (*syslog.Listener, error) {
	if c.complaints == nil {
		c.complaints = make(chan complaint, 64)
		c.next = make(chan *syslog.Listener, 1)
		c.log = log
	}
	listener, err := syslog.Listen("unixgram:" + path + "?mode=0660")
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, -1, workers.gid); err != nil {
			listener.Close()
			return nil, err
		}
	}
	c.current = listener
	return listener, nil
}

// hear handles what a listener receives until ctx ends, and then what those
// receive that take its place.
func (c *control) hear(ctx context.Context, l *syslog.Listener) {
	for {
		_ = l.Run(ctx, c.handle) // ended by ctx, or closed
		_ = l.Close()
		select {
		case l = <-c.next:
		case <-ctx.Done():
			select {
			case l = <-c.next:
				_ = l.Close()
			default:
			}
			return
		}
	}
}

// listenAgain makes the control socket anew where its file was removed.
func (e *Engine) listenAgain() error {
	c := &e.control
	if !gone(e.cfg.controlSocket()) {
		return nil
	}
	old := c.current
	l, err := c.listen(e.cfg.controlSocket(), e.workers, e.log)
	if err != nil {
		return err
	}
	select {
	case c.next <- l:
		return old.Close()
	default: // the one before has not been taken up
		return l.Close()
	}
}

// handle sorts one line. It never blocks: when nobody takes the complaints,
// the later ones say nothing new.
func (c *control) handle(r syslog.Record) {
	found := errorLine.FindStringSubmatchIndex(r.Message)
	if found == nil {
		c.log.Debug("nginx", "line", r.Message)
		return
	}
	level := r.Message[found[2]:found[3]]
	pid, _ := strconv.ParseInt(r.Message[found[4]:found[5]], 10, 64)
	text := r.Message[found[0]:]
	if pid == c.master.Load() {
		c.heard(text)
		c.count(text)
	}
	said := complaint{pid: int(pid), level: level, text: text}
	switch {
	case level != "emerg" && level != "alert":
		c.log.Debug("nginx", "line", text)
		return
	case pid != c.master.Load():
		c.log.Debug("nginx", "line", text)
		c.dying = append(c.dying[max(0, len(c.dying)-mostDying+1):], said)
		return
	}
	said.read = c.reads.Load()
	if read, known := c.started[said.about()]; known {
		said.read = read
	}
	if m := killedWorker.FindStringSubmatch(text); m != nil {
		if m[1] == sigkill {
			c.killed.Add(1) // before exits, which bake reads before this
		}
		c.exits.Add(1)
		c.crashed(text)
	}
	// The master only says that a worker ended; why, the worker said before.
	for _, last := range c.dying {
		if last.pid == said.about() && !last.logging() {
			said.text = last.text + "\n" + said.text
			break
		}
	}
	c.log.Warn("nginx complains", "line", text)
	select {
	case c.complaints <- said:
	default:
	}
}

// count notes which workers are of which reading of the configuration. Lines
// of one master come in order, so a worker's start is known before its end.
func (c *control) count(text string) {
	if strings.HasSuffix(text, ": reconfiguring") {
		now := c.reads.Add(1)
		maps.DeleteFunc(c.started, func(_ int, read int64) bool { return read < now-mostReads })
	}
	if m := startedWorker.FindStringSubmatch(text); m != nil {
		if c.started == nil {
			c.started = map[int]int64{}
		}
		pid, _ := strconv.Atoi(m[1])
		c.started[pid] = c.reads.Load()
	}
}

// mostReads is of how many readings workers are remembered.
const mostReads = 8

// drain forgets what was said before; called before each thing that is to be judged.
func (c *control) drain() {
	for {
		select {
		case <-c.complaints:
		default:
			return
		}
	}
}

// mostDying is how many lines of workers are remembered: more never die at once
// of different causes.
const mostDying = 16

var (
	startedWorker = regexp.MustCompile(`start worker process (\d+)$`)
	exitedWorker  = regexp.MustCompile(`process (\d+) exited`)
	killedWorker  = regexp.MustCompile(`worker process \d+ exited on signal (\d+)`)
)

// sigkill is how nginx writes it.
const sigkill = "9"

// about is the pid of the worker whose end a complaint reports, 0 for none.
func (c complaint) about() int {
	if m := exitedWorker.FindStringSubmatch(c.text); m != nil {
		pid, _ := strconv.Atoi(m[1])
		return pid
	}
	return 0
}

// retried says whether nginx goes on trying: it attempts to bind to an address
// in use five times, half a second apart, says "still could not bind()" in the
// end, and may succeed in between.
func (c complaint) retried() bool {
	return c.level == "emerg" && strings.Contains(c.text, "bind() to ") && strings.Contains(c.text, "(98:")
}

// logging says whether it is about a log that nobody reads, which nginx does not mind.
func (c complaint) logging() bool {
	return c.level == "alert" && strings.Contains(c.text, "connect() failed")
}

// ignored says whether nginx itself says that it goes on as if nothing were:
// the lock file of a master that was started with another configuration.
func (c complaint) ignored() bool { return strings.HasSuffix(c.text, "could not be changed, ignored") }
