package agent

import (
	"encoding/json"
	"fmt"
	"time"

	"fairlead/pkg/journal"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
	"fairlead/subjects"
)

// announce puts a lifecycle event into the outbox.
func (a *Agent) announce(event, text string) error {
	e, err := a.lifecycle(event, text)
	if err != nil {
		return err
	}
	return a.journal.Enqueue(e)
}

func (a *Agent) lifecycle(event, text string) (journal.Event, error) {
	return a.lifecycleOf(message.LifecycleDomain, a.life(event, text))
}

// life is what every event of the agent's own says.
func (a *Agent) life(event, text string) message.Lifecycle {
	return message.Lifecycle{
		Event: event, Version: a.cfg.Version, BootID: a.bootID, Instance: a.instance, Methods: a.cfg.Registry.Methods(),
		EverySeconds: max(a.cfg.HealthEvery.Seconds(), 0), Message: text,
	}
}

func (a *Agent) lifecycleOf(domain string, l message.Lifecycle) (journal.Event, error) {
	body, err := json.Marshal(l)
	if err != nil {
		return journal.Event{}, err
	}
	return a.outgoing(message.Message{
		Subject: subjects.Subject{Node: a.cfg.Name, Direction: subjects.Event, Method: subjects.MethodLifecycle, Domain: domain},
		ID:      message.NewID(), From: a.cfg.Name, Body: body,
	})
}

// nginxEvent announces what the engine tells of its nginx.
func (a *Agent) nginxEvent(event, text string) {
	e, err := a.lifecycleOf(desiredDomain, message.Lifecycle{Event: event, BootID: a.bootID, Message: text})
	if err == nil {
		err = a.journal.Enqueue(e)
	}
	if err != nil {
		a.log.Error("an event of nginx cannot be announced", "event", event, "text", text, "error", err)
	}
	a.driftChanged(event)
	if event == nginx.EventRolledBack || event == nginx.EventBaked {
		a.state.changed() // the report says so too
	}
}

// outgoing signs an event for the outbox.
func (a *Agent) outgoing(m message.Message) (journal.Event, error) {
	if err := m.Sign(a.signer()); err != nil {
		return journal.Event{}, err
	}
	out := outgoing{Stored: message.Stored{Subject: m.StoredSubject(), Headers: m.Headers(), Body: m.Wire()}}
	data, err := json.Marshal(out)
	return journal.Event{ID: m.ID, Subject: out.Subject, Data: data}, err
}

// welcome says that the agent runs, and what became of its journal.
func (a *Agent) welcome() {
	err := a.announce(message.LifecycleStarted, "")
	if text := a.journal.Recovered(); text != "" && err == nil {
		err = a.announce(message.LifecycleRecovered, text)
	}
	if err != nil {
		a.log.Warn("could not announce the start", "error", err)
	}
}

// farewell says that the agent stops and gives the outbox a moment to leave, and
// more of it where nothing can be said under this name later.
func (a *Agent) farewell(to string) {
	if !a.link.stands() {
		return
	}
	defer a.keep(true) // with what the farewell costs
	text, limit := "", 2*time.Second
	if to != "" {
		text, limit = "is "+to+" from now on", lastWords
	}
	if err := a.announce(message.LifecycleStopped, text); err != nil {
		a.log.Warn("could not say farewell", "error", err)
	}
	a.outbox.flush(limit)
}

// tellDropped reports what the full spool lost since the last such report.
func (a *Agent) tellDropped() error {
	if a.journal.Dropped().Batches == 0 {
		return nil
	}
	_, err := a.journal.TakeDropped(func(d journal.Drops) []journal.Event {
		e, err := a.lifecycle(message.LifecycleDropped,
			fmt.Sprintf("the log spool was full: %d records in %d batches (%d bytes) were dropped", d.Records, d.Batches, d.Bytes))
		if err != nil {
			a.log.Error("dropped log records cannot be reported", "error", err)
			return nil
		}
		return []journal.Event{e}
	})
	return err
}
