package bench

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// load is the kernel's mean of how many processes wanted to run in the last minute.
func load() float64 {
	data, _ := os.ReadFile("/proc/loadavg") // none is 0
	text, _, _ := strings.Cut(string(data), " ")
	mean, _ := strconv.ParseFloat(text, 64)
	return mean
}

// answering waits until the station answers.
func (m *scaling) answering(ctx context.Context) error {
	return m.explain("station", eventually(ctx, m.station, func() error {
		_, _, err := m.client.Nodes(ctx, station.NodesQuestion{Names: []string{nodeName(0)}})
		return err
	}))
}

// rawAsk is the floor of a question to many: a bare publish that as many bare
// connections hear, and answer as soon as they do, without a signature.
func (m *scaling) rawAsk(ctx context.Context) error {
	m.options.Progress("a bare question to %d bare connections", m.o.Asked)
	conns := make([]*bus.Conn, m.o.Asked)
	defer func() { closeAll(conns) }()
	_, _, err := m.atOnce("", m.o.Asked, parallel, func(i int) (err error) {
		conns[i], err = bus.Connect(ctx, bus.Options{URL: m.url, TLS: m.secure, Credentials: m.client.Credentials()})
		if err != nil {
			return err
		}
		if _, err = conns[i].Echo(subjects.Bench); err != nil {
			return err
		}
		return conns[i].Flush(ctx)
	})
	if err != nil {
		return err
	}
	m.raw, err = timed(nameRaw, m.o.Questions, func() error {
		ctx, cancel := context.WithTimeout(ctx, fanTime)
		defer cancel()
		return m.client.Conn().Gather(ctx, subjects.Bench, make([]byte, bodySize), m.o.Asked)
	})
	m.result.Figures = append(m.result.Figures, m.raw)
	return err
}

// ask has nodes say how they are, all of them at once, and waits for the last.
func (m *scaling) ask(ctx context.Context) error {
	m.options.Progress("asking %d nodes how they are, %d times", m.o.Asked, m.o.Questions)
	var counted Dispatched
	w, err := m.client.Listen(ctx, "*")
	if err != nil {
		return err
	}
	defer w.Close()
	commands := make([]client.Command, m.o.Asked)
	for i := range commands {
		commands[i] = client.Command{Subject: subjects.Subject{Node: nodeName(i), Direction: subjects.Command, Method: subjects.MethodHealth, Domain: "nginx"}}
	}
	f, err := timed(nameAsk, m.o.Questions, func() error {
		ctx, cancel := context.WithTimeout(ctx, fanTime)
		defer cancel()
		sent, err := m.client.Send(ctx, commands...)
		if err != nil {
			return err
		}
		return counted.count(w.Wait(ctx, sent, nil))
	})
	if err != nil {
		return err
	}
	f.against(m.raw)
	names := make([]string, m.o.Nodes) // a question to more than a few is heard, and answered, by all
	for i := range names {
		names[i] = nodeName(i)
	}
	m.options.Progress("asking %d nodes whether they are there", len(names))
	pings, err := timed(namePing, m.o.Questions, func() error {
		ctx, cancel := context.WithTimeout(ctx, fanTime)
		defer cancel()
		pongs, err := m.client.Ping(ctx, names, nil)
		if err == nil && len(pongs) != len(names) {
			err = fleet.Errorf(fleet.Failed, "%d of %d nodes answered", len(pongs), len(names))
		}
		return errors.Join(err, sleep(ctx, pingPause))
	})
	for _, took := range []*time.Duration{&pings.P50, &pings.P99} {
		*took -= pingPause
	}
	if m.o.Asked == m.o.Nodes {
		pings.against(m.raw)
	}
	m.result.Figures = append(m.result.Figures, f, pings)
	return err
}

// pingPause is what a node takes to be willing to answer once more, see package
// agent; it is not counted.
const pingPause = 150 * time.Millisecond

// selected chooses about a tenth of the nodes.
const selected = "region=r1,site!=s11"

// questions asks the station, over a kept connection and by the command line.
func (m *scaling) questions(ctx context.Context) error {
	m.options.Progress("asking the station")
	everyNode := func(q station.NodesQuestion, want int) func() error {
		return func() error {
			nodes, _, err := m.client.Nodes(ctx, q)
			if err == nil && want >= 0 && len(nodes) != want {
				err = fleet.Errorf(fleet.Failed, "%d of %d nodes are in the answer", len(nodes), want)
			}
			return err
		}
	}
	for _, q := range []struct {
		name string
		ask  func() error
		args []string
	}{
		{nameStatus, func() error {
			sum, err := m.client.Summary(ctx, station.NodesQuestion{})
			if err == nil && sum.Nodes != m.o.Nodes {
				err = fleet.Errorf(fleet.Failed, "%d of %d nodes are counted", sum.Nodes, m.o.Nodes)
			}
			return err
		}, []string{"status"}},
		{nameNodes, everyNode(station.NodesQuestion{Selector: selected}, -1), []string{"nodes", "-l", selected}},
		{nameAll, everyNode(station.NodesQuestion{}, m.o.Nodes), []string{"status", "--json"}},
	} {
		kept, err := timed(q.name, m.o.Questions, q.ask)
		if err != nil {
			return err
		}
		args := append(q.args, "--url", m.url, "--creds", m.user("admin"))
		if m.secure.CA != "" {
			args = append(args, "--ca", m.secure.CA)
		}
		line, err := timed("fairlead "+strings.Join(q.args, " ")+", a process of its own", max(m.o.Questions/4, 1), func() error {
			_, err := host.Run(ctx, host.Command{Path: m.options.Binary, Args: args})
			return err // the exit code tells how the nodes are
		})
		if err != nil {
			return err
		}
		m.result.Figures = append(m.result.Figures, kept, line)
	}
	return nil
}

// commands sends one to every node at once: one that does nothing, beside the
// floor, and a reload.
func (m *scaling) commands(ctx context.Context) error {
	for _, c := range []struct {
		name string
		of   func(i int) client.Command
	}{
		{nameCommand, command},
		{nameReload, func(i int) client.Command {
			return client.Command{Subject: subjects.Subject{Node: nodeName(i), Direction: subjects.Command, Method: handlers.MethodReload, Domain: "nginx"}}
		}},
	} {
		m.options.Progress("%s", c.name)
		outcomes, f, err := m.fan(ctx, c.name, m.o.Nodes, c.of)
		if err != nil {
			return err
		}
		var counted Dispatched
		if err := counted.count(outcomes); err != nil {
			return err
		}
		f.Against, f.Ratio = m.floor.Name, f.Rate/m.floor.Rate
		m.result.Figures = append(m.result.Figures, f)
	}
	return nil
}

// until waits until what the station counts is as it should be; what says what is
// waited for. Counts are asked for, not nodes: ten thousand of these would cost what
// is measured.
func (m *scaling) until(ctx context.Context, what string, is func(station.Summary) bool) error {
	ctx, cancel := context.WithTimeout(ctx, untilTime)
	defer cancel()
	for {
		begun := time.Now()
		sum, err := m.client.Summary(ctx, station.NodesQuestion{})
		if err == nil && is(sum) {
			return nil
		}
		if paused := lookLater(ctx, begun); paused != nil {
			return fleet.Errorf(fleet.Timeout, "%s, after %s: %d nodes, presence %v, %d commands without an end: %w",
				what, untilTime, sum.Nodes, sum.Presence, sum.Waiting, errors.Join(err, paused))
		}
	}
}

// untilTime bounds a wait for the fleet.
const untilTime = 10 * time.Minute
