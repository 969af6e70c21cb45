package agent_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"fairlead/handlers"
	"fairlead/pkg/agent"
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
	dial := func(c *agent.Config) {
		c.Dial = func(network, address string) (net.Conn, error) {
			conn, err := net.Dial(network, address)
			return carrying{conn, &carried}, err
		}
	}
	before := uint64(0)
	for range 2 {
		began := carried.Load()
		stop := n.start(t, dial)
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
