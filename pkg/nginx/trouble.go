package nginx

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/host"
)

// Recovery is a time when nginx had to be helped.
type Recovery struct {
	At   time.Time     `json:"at"`   // when it was well again, by this host's clock
	What string        `json:"what"` // what had happened and what helped
	Down time.Duration `json:"down"` // from when it was noticed; 0 where requests were served all the time
}

// trouble is what is wrong with nginx now, and what was last. Its holder of
// the engine's lock writes, anybody reads.
type trouble struct {
	mu    sync.Mutex
	what  string // "" when nothing is wrong
	since time.Time
	tries int  // that failed since then
	told  bool // that it is down
	said  string
	last  Recovery
}

// begin notes that nginx does not serve.
func (t *trouble) begin(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.what == "" {
		t.what, t.since, t.tries, t.told, t.said = what, time.Now(), 0, false, ""
	}
}

// end is what was wrong and for how long; "" when nothing was.
func (t *trouble) end() (what string, down time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	what, t.what = t.what, ""
	if what == "" {
		return "", 0
	}
	return what, time.Since(t.since)
}

func (t *trouble) now() (what string, last Recovery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.what, t.last
}

// news says whether this reason is another than that of the try before, so that
// what lasts is not logged every few seconds.
func (t *trouble) news(why error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.said
	t.said = why.Error()
	return t.said != was
}

func (t *trouble) failures() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tries
}

// failed counts one more try; first is true when nobody was told yet.
func (t *trouble) failed() (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tries++
	first, t.told = !t.told, true
	return first
}

// stillDown counts a try that failed and tells of the first one.
func (e *Engine) stillDown(why error) {
	e.trouble.begin("nginx does not run")
	if what, _ := e.trouble.now(); e.trouble.failed() {
		e.tell(EventDown, "%s; the first try to bring it back failed: %v", what, why)
	}
}

// recovered tells that nginx serves again, if it did not before.
func (e *Engine) recovered(how string) {
	if what, down := e.trouble.end(); what != "" {
		e.helped(fmt.Sprintf("%s; %s", what, how), down)
	}
}

// helped tells, and keeps, that nginx had to be helped.
func (e *Engine) helped(what string, down time.Duration) {
	r := Recovery{At: time.Now().UTC(), What: what, Down: down}
	e.trouble.mu.Lock()
	e.trouble.last = r
	e.trouble.mu.Unlock()
	if down > 0 {
		what += fmt.Sprintf(", after %v", down.Round(time.Millisecond))
	}
	e.tell(EventRecovered, "%s", what)
	data, err := json.Marshal(r)
	if err == nil {
		err = host.WriteFile(e.cfg.recoveryFile(), data, 0o600)
	}
	if err != nil {
		e.log.Warn("the recovery of nginx is not recorded", "error", err)
	}
}

// readRecovery reads what helped last from disk, for an engine that has just begun.
func (e *Engine) readRecovery() {
	var r Recovery
	data, err := os.ReadFile(e.cfg.recoveryFile())
	if err == nil && json.Unmarshal(data, &r) == nil {
		e.trouble.last = r
	}
}

// death is how a master ended, as far as anybody knows.
func death(p *host.Process) string {
	_ = p.Alive()
	if fate := p.Fate(); fate != "" {
		return fmt.Sprintf("nginx (master process %d) %s", p.PID, fate)
	}
	return fmt.Sprintf("nginx (master process %d) ended", p.PID)
}

// firstLine keeps an event to one line.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
