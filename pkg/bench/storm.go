package bench

import (
	"context"
	"syscall"
	"time"

	"fairlead/pkg/client"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
)

// Storm is the return of a whole fleet.
type Storm struct {
	Missed int                   `json:"missed"` // commands that waited for it, of all nodes
	Over   time.Duration         `json:"overNs"` // over how long they spread their return
	Took   time.Duration         `json:"tookNs"` // until each had its end
	Rate   float64               `json:"perSecond"`
	States map[message.State]int `json:"states"` // by proven final state
	// Processor time for each command.
	Agents  time.Duration `json:"agentsCpuNs"`
	Broker  time.Duration `json:"brokerCpuNs"`
	Station time.Duration `json:"stationCpuNs"`
}

// storm cuts all links, kills the broker, and starts it again. Every node misses
// commands; then all of them may come back.
func (m *scaling) storm(ctx context.Context) error {
	m.options.Progress("all links are cut")
	if err := m.order(ctx, crewCut); err != nil {
		return err
	}
	if m.broker != nil {
		_ = m.broker.Signal(syscall.SIGKILL)
		end(m.broker)
		if err := m.startBroker(ctx); err != nil {
			return err
		}
	}
	if err := m.answering(ctx); err != nil {
		return err
	}
	m.options.Progress("%d commands to nobody who hears", m.o.Missed*m.o.Nodes)
	var commands []client.Command
	for range m.o.Missed {
		for i := range m.o.Nodes {
			commands = append(commands, command(i))
		}
	}
	sent, err := m.client.Send(ctx, commands...)
	if err != nil {
		return err
	}
	// The station reads them from the stream, and until it has nothing would wait.
	if err := m.until(ctx, "the station has not read what waits", func(s station.Summary) bool { return s.Waiting == len(sent) }); err != nil {
		return err
	}
	before, err := m.processors()
	if err != nil {
		return err
	}
	m.options.Progress("%d nodes come back", m.o.Nodes)
	begun := time.Now()
	over := station.ReturnOver(m.o.Nodes) // as long as agents take by themselves whose broker went away
	if err := m.orderOver(ctx, crewOpen, over); err != nil {
		return err
	}
	if err := m.until(ctx, "not all has ended", func(s station.Summary) bool { return s.Waiting == 0 }); err != nil {
		return err
	}
	took := time.Since(begun)
	f, err := m.since(before, "", len(sent), took)
	if err != nil {
		return err
	}
	st := Storm{Missed: len(sent), Over: over, Took: took, Rate: f.Rate, Agents: f.Agents, Broker: f.Broker, Station: f.Station}
	st.States, err = m.ends(ctx, sent)
	m.result.Storm = st
	return err
}

// ends reads the final answers to commands from the store and proves each.
func (m *scaling) ends(ctx context.Context, sent []client.Sent) (map[message.State]int, error) {
	ctx, cancel := context.WithTimeout(ctx, fanTime)
	defer cancel()
	w, err := m.client.Listen(ctx, "*")
	if err != nil {
		return nil, err
	}
	defer w.Close()
	states := make(map[message.State]int)
	for _, o := range w.Wait(ctx, sent, nil) {
		states[o.State]++
	}
	return states, nil
}
