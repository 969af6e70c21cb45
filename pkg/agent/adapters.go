package agent

import (
	"context"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// events implements handlers.Events.
type events struct{ agent *Agent }

// emitTime bounds one event's way into its stream.
const emitTime = 5 * time.Second

func (e events) Emit(ctx context.Context, method, domain, id string, body []byte) error {
	if !e.agent.link.stands() {
		return fleet.Errorf(fleet.Unavailable, "there is no link to the broker")
	}
	if id == "" {
		id = message.NewID()
	}
	m := message.Message{
		Subject: subjects.Subject{Node: e.agent.cfg.Name, Direction: subjects.Event, Method: method, Domain: domain},
		ID:      id, From: e.agent.cfg.Name, Body: body,
	}
	if err := m.Sign(e.agent.signer()); err != nil {
		return err
	}
	if method == subjects.MethodHealth { // the next one comes soon
		return e.agent.conn.PublishUnheard(m)
	}
	ctx, cancel := context.WithTimeout(ctx, emitTime)
	defer cancel()
	_, err := e.agent.conn.Publish(ctx, m)
	if fleet.KindOf(err) == fleet.Conflict {
		return nil // stored by an earlier attempt
	}
	return err
}

func (e events) Connected() <-chan struct{} { return e.agent.link.settled() }

// spool implements handlers.Spool.
type spool struct{ agent *Agent }

func (s spool) Push(domain string, records int, batch []byte) error {
	return s.agent.journal.Spool(domain, records, batch)
}

func (s spool) Done(upTo uint64) error { return s.agent.journal.SpoolDone(upTo) }
func (s spool) TellDropped() error     { return s.agent.tellDropped() }

func (s spool) Empty() bool {
	batches, _ := s.agent.journal.SpoolLen()
	return batches == 0
}

func (s spool) Peek(max int) ([]handlers.Spooled, error) {
	page, err := s.agent.journal.SpoolPeek(max)
	all := make([]handlers.Spooled, len(page))
	for i, p := range page {
		all[i] = handlers.Spooled{Position: p.Position, Domain: p.Domain, Batch: p.Data}
	}
	return all, err
}

// noNginx stands in on a node without nginx.
type noNginx struct{}

var errNoNginx = fleet.Errorf(fleet.Refused, "this node's agent has no nginx to care for")

func (noNginx) Converge(context.Context, nginx.Desired) (nginx.Outcome, error) {
	return nginx.Outcome{}, errNoNginx
}

func (noNginx) DryRun(context.Context, nginx.Desired) (nginx.Checked, error) {
	return nginx.Checked{}, errNoNginx
}

func (noNginx) Pardon(string) {}

func (noNginx) Reload(context.Context, bool, time.Duration) (nginx.Verdict, error) {
	return nginx.Verdict{}, errNoNginx
}

func (noNginx) Pause(context.Context, nginx.Pause) (nginx.Pause, error) {
	return nginx.Pause{}, errNoNginx
}

func (noNginx) Resume(context.Context, string) (bool, error) { return false, errNoNginx }

func (noNginx) Changes(context.Context, bool) (nginx.Changes, error) {
	return nginx.Changes{}, errNoNginx
}

func (noNginx) Status(context.Context) (nginx.Status, error) { return nginx.Status{}, errNoNginx }
