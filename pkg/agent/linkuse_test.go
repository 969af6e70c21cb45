package agent_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"fairlead/handlers"
	"fairlead/pkg/agent"
	"fairlead/pkg/message"
)

// carrying counts what its connection carries, beside the agent.
type carrying struct {
	net.Conn
	bytes *atomic.Uint64
}

func (c carrying) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(uint64(n))
	return n, err
}

func (c carrying) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(uint64(n))
	return n, err
}

func dialCarrying(bytes *atomic.Uint64) func(network, address string) (net.Conn, error) {
	return func(network, address string) (net.Conn, error) {
		conn, err := net.Dial(network, address)
		return carrying{conn, bytes}, err
	}
}

// kept is what the node's link carried, as its state directory has it.
func (n *node) kept(t *testing.T) (bytes uint64) {
	t.Helper()
	var last struct {
		Link []handlers.LinkDay `json:"link"`
	}
	text, err := os.ReadFile(filepath.Join(n.state, "last.json"))
	if err == nil {
		err = json.Unmarshal(text, &last)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range last.Link {
		bytes += d.Bytes()
	}
	return bytes
}

func TestWhatTheLinkCarriedOutlivesTheAgent(t *testing.T) {
	n := sharedSystem(t).newNode(t)
	var carried atomic.Uint64
	before := uint64(0)
	for range 2 {
		began := carried.Load()
		stop := n.start(t, func(c *agent.Config) { c.Dial = dialCarrying(&carried) })
		n.do(t, n.command(work, "x", ""))
		told := carried.Load()
		stop()
		kept := n.kept(t)
		if more := kept - before; kept <= before || more < told-began || more > carried.Load()-began {
			t.Errorf("%d bytes are kept after %d, of %d to %d that the link carried meanwhile", kept, before, told-began, carried.Load()-began)
		}
		before = kept
	}
}

func TestCommandsEndWithinASmallBudget(t *testing.T) {
	n := sharedSystem(t).newNode(t)
	var carried atomic.Uint64
	n.start(t, func(c *agent.Config) { c.Budget, c.Dial = 16000, dialCarrying(&carried) })
	var ids []string
	for range 20 {
		ids = append(ids, n.send(t, n.command(work, "x", ""))...)
	}
	for _, id := range ids {
		if end := n.end(t, id); end.State != message.Succeeded {
			t.Errorf("%s ended %s: %s", id, end.State, end.Message)
		}
	}
	if carried.Load() < 20<<10 {
		t.Errorf("%d bytes were carried, which no budget delays", carried.Load())
	}
}

func TestABudgetThatIsTooSmallIsRefused(t *testing.T) {
	for _, budget := range []int64{-1, 1, 999} {
		_, err := agent.New(agent.Config{Budget: budget})
		if err == nil || !strings.Contains(err.Error(), "budget: ") || !strings.Contains(err.Error(), "use 8kbit/s or more") {
			t.Errorf("a budget of %d: %v", budget, err)
		}
	}
}
