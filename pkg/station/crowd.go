package station

import (
	"sync"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
)

// crowd bounds how many nodes are answered at once that ask for what waits, as when
// a broker returns and all its nodes with it. Who comes beyond that is told when to
// ask again: the later, the more there are.
type crowd struct {
	most int

	mu       sync.Mutex
	inside   int
	peak     int
	answered int64
	busy     int64
	since    time.Time // when the present count began
	came     int       // since then
	refused  int       // since then
	before   int       // came in the count before
}

const (
	// crowdWindow is how long one count goes on: nodes that reconnect after a cut
	// come over a few seconds.
	crowdWindow = 5 * time.Second
	// syncsASecond is what a station and a broker answer easily together on one core,
	// each with ten commands: a tenth of what was measured idle.
	syncsASecond = 2000
	// afterASecond is how many nodes may report, converge and send logs in a second.
	afterASecond = 1000
	// returnsASecond is how many nodes may connect in a second: 3 ms of a broker's
	// processor each and 1.2 ms of a station's, half of what two cores give.
	returnsASecond = 250
	// mostReturn bounds over how long they are asked to spread it.
	mostReturn = time.Minute
	// mostSpread bounds how long somebody is asked to wait.
	mostSpread = 30 * time.Second
	// leastPause is what one is told to wait who came at a bad moment.
	leastPause = 200 * time.Millisecond
)

// ReturnOver is over how long so many nodes are to spread their return when their
// broker went away: what they all want in one moment it gives to none in time.
func ReturnOver(nodes int) time.Duration {
	return min(time.Second*time.Duration(nodes)/returnsASecond, mostReturn)
}

// enter lets a node in until leave is called. The error is Busy and says, as a
// bus.Later, when to come again.
func (c *crowd) enter(now time.Time) (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	if c.inside >= c.most {
		c.busy++
		c.refused++
		after := min(leastPause+time.Second*time.Duration(c.refused)/syncsASecond, mostSpread)
		return nil, &bus.Later{After: after, Err: fleet.Errorf(fleet.Busy, "%d nodes are answered at this moment: ask again", c.inside)}
	}
	c.came++
	c.inside++
	c.answered++
	c.peak = max(c.peak, c.inside)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.inside--
	}, nil
}

// turn begins a new count where the present one is old. The lock is held.
func (c *crowd) turn(now time.Time) {
	switch age := now.Sub(c.since); {
	case age >= 2*crowdWindow:
		c.before, c.came, c.refused, c.since = 0, 0, 0, now
	case age >= crowdWindow:
		c.before, c.came, c.refused, c.since = c.came, 0, 0, now
	}
}

// spread is over how long those that come now are to spread what can wait.
func (c *crowd) spread(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	return min(time.Second*time.Duration(c.before+c.came+c.refused)/afterASecond, mostSpread)
}

func (c *crowd) counts() (answered, busy int64, peak int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered, c.busy, c.peak
}
