package dev_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead/pkg/agent"
	"fairlead/pkg/client"
	"fairlead/pkg/dev"
	"fairlead/pkg/fleet"
	"fairlead/pkg/fleet/certtest"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// renamable runs a node's agent as the command line does: anew where it wants that.
func (r *rig) renamable(i int, change func(*agent.Config)) *part {
	r.t.Helper()
	ready := make(chan struct{})
	var first sync.Once
	return begin(r.t, ready, func(ctx context.Context) error {
		for {
			cfg, err := r.AgentConfig(r.at(i))
			if err != nil {
				return err
			}
			change(&cfg)
			a, err := agent.New(cfg)
			if err != nil {
				return err
			}
			go func() {
				select {
				case <-a.Ready():
					first.Do(func() { close(ready) })
				case <-ctx.Done():
				}
			}()
			var anew *agent.Anew
			if err := a.Run(ctx); !errors.As(err, &anew) {
				sctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				return errors.Join(err, a.Engine().Stop(sctx))
			}
			if ctx.Err() != nil {
				return nil
			}
		}
	})
}

// at is a node under the name that it has on its disk.
func (r *rig) at(i int) dev.Node {
	all, err := r.Nodes()
	if err != nil {
		r.t.Error(err)
	}
	return all[i]
}

// rename gives a node another name as an administrator.
func (r *rig) rename(node, to string) (station.NodeDetail, error) {
	r.t.Helper()
	ctx, cancel := patient(r.t)
	defer cancel()
	way, err := r.client.Renaming(ctx, node, to)
	if err != nil {
		return station.NodeDetail{}, err
	}
	n, _, err := r.client.Rename(ctx, way, func(string) {})
	return n, err
}

// asked requests a site until stop is called, which returns how often, and which
// requests failed.
func asked(t *testing.T, address string, port int, want string) (stop func() (int, []string)) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan struct{})
	count, failed := 0, []string(nil)
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if code, body := get(address, port); code != 200 || body != want {
				failed = append(failed, fmt.Sprintf("%d %q", code, body))
			}
			count++
			<-tick.C
		}
	}()
	return func() (int, []string) {
		cancel()
		<-ended
		return count, failed
	}
}

// pidOf is the process id of a node's nginx.
func pidOf(t *testing.T, n dev.Node) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(n.Dir, "*", "nginx.pid"))
	if err != nil || len(found) != 1 {
		t.Fatal("the pid of nginx:", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// identityEvents are what the audit has of a node's identity.
func identityEvents(t *testing.T, c *client.Client, name string) (all []string) {
	t.Helper()
	ctx, cancel := patient(t)
	defer cancel()
	if err := c.Audit(ctx, client.AuditOptions{Node: name}, func(r client.Record) error {
		if m := r.Message; m.Subject.Method == subjects.MethodLifecycle && m.Subject.Domain == message.IdentityDomain {
			all = append(all, string(m.Body))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestANodeGetsAnotherNameAndItsNginxServesAllTheTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.station()
	running := r.renamable(0, func(*agent.Config) {})
	authority := certtest.New(t)
	pair := authority.Issue(shopName)
	succeeds(t, r.client, shop(t, pair, "", shopName), false) // which a node takes that has said its curve key
	for _, text := range []string{"one", "two", "three"} {    // so that revisions begin anew below what the node has seen
		succeeds(t, r.client, set(t, site("s", "index=1", 8080, text)), false)
	}
	before := inSync(t, r.client, "node1")
	pid := pidOf(t, r.nodes[0])
	stop := asked(t, r.nodes[0].Address, 8080, "three")

	after, err := r.rename("node1", "edge7")
	if err != nil {
		t.Fatal(err)
	}
	if count, failed := stop(); len(failed) > 0 || count == 0 {
		t.Errorf("%d of %d requests failed: %q", len(failed), count, failed)
	}
	if pid != pidOf(t, r.nodes[0]) {
		t.Error("nginx was started anew")
	}
	if after.Sync != station.InSync || after.DesiredDigest != before.DesiredDigest || after.RunningDigest != before.RunningDigest || after.DesiredRevision != 1 || after.ObservedRevision != 1 {
		t.Errorf("it is %+v, and was %+v", after.NodeStatus, before.NodeStatus)
	}
	servesLeaf(t, authority, r.nodes[0].Address, pair)
	if after.Key == before.Key || fmt.Sprint(after.Labels) != fmt.Sprint(before.Labels) || after.Renamed == nil || after.Renamed.From != "node1" || after.Renamed.By != "admin" {
		t.Errorf("the register has %+v, renamed %+v", after.NodeStatus, after.Renamed)
	}
	ctx, cancel := patient(t)
	defer cancel()
	if _, err := r.client.Node(ctx, "node1"); fleet.KindOf(err) != fleet.Unknown || !strings.Contains(err.Error(), "it is edge7 now") {
		t.Errorf("the old name is %v", err)
	}
	endedOnce(t, r.client, "node1")
	endedOnce(t, r.client, "edge7")
	eventually(t, "the audit tells it", func() bool {
		old, now := strings.Join(identityEvents(t, r.client, "node1"), ""), strings.Join(identityEvents(t, r.client, "edge7"), "")
		return strings.Contains(old, "is edge7 from now on: by admin") && strings.Contains(old, "removed from the register by admin: renamed to edge7") && strings.Contains(now, "was node1 until now: by admin")
	})

	// It takes changes, and an agent that is started later is the same node.
	succeeds(t, r.client, set(t, site("s", "node=edge7", 8080, "four")), false)
	running.stop(t)
	r.renamable(0, func(*agent.Config) {})
	succeeds(t, r.client, set(t, site("s", "index=1", 8080, "five")), false)
	serves(t, r.nodes[0].Address, 8080, "five")
	if d := inSync(t, r.client, "edge7"); d.Presence != station.Online {
		t.Errorf("it is %s", d.Presence)
	}

	// And gets its first name back, under which its revisions begin where they ended.
	if back, err := r.rename("edge7", "node1"); err != nil || back.DesiredRevision != before.DesiredRevision+1 || back.Sync != station.InSync {
		t.Errorf("back it is %+v, %v", back.NodeStatus, err)
	}
	serves(t, r.nodes[0].Address, 8080, "five")
}
