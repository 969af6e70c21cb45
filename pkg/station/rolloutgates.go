package station

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"fairlead/pkg/nginx"
	"fairlead/pkg/rollout"
)

// gates asks what must hold before a rollout goes on. What the nodes said it reads
// where it stands; a Prometheus or a program is asked beside, and until it has
// answered nothing is known.
type gates struct {
	station *Station

	mu   sync.Mutex
	read map[string]*gateRead // by rollout and gate
	ctx  context.Context
	all  sync.WaitGroup
}

// gateRead is what a gate said of one wave.
type gateRead struct {
	wave    int
	since   time.Time // of the wave, and
	well    time.Time // when its nodes were well first: what was measured before says nothing
	reading rollout.Reading
	asked   time.Time // by this host's clock
	asking  bool
}

// GateQuestion is what the program of a gate reads on its standard input.
type GateQuestion struct {
	Rollout string   `json:"rollout"`
	By      string   `json:"by"`
	Message string   `json:"message,omitempty"`
	Wave    int      `json:"wave"` // from 1
	Waves   int      `json:"waves"`
	Nodes   []string `json:"nodes"` // all that were released
	Changes []string `json:"changes"`
}

// GateAnswer is how it ended: with 0 the gate passes, with 1 it refuses, and with
// anything else nothing is known.
type GateAnswer struct {
	ExitCode int
	Reason   string
}

// begin has questions asked until ctx ends; the function that it returns waits for
// those under way.
func (g *gates) begin(ctx context.Context) (wait func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ctx = ctx
	return g.all.Wait
}

// forget forgets what was asked: no rollout is under way.
func (g *gates) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.read)
}

// ask is what the gates of a wave say now.
func (g *gates) ask(t *travel, s rollout.State, now time.Time) []rollout.Reading {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []rollout.Reading
	for _, text := range t.plan.Strategy.Gates {
		gate, err := rollout.ParseGate(text)
		if err != nil || gate.Kind == rollout.GateApproval { // validated long ago
			continue
		}
		key := t.id + " " + text
		r := g.read[key]
		if r == nil || r.wave != s.Wave || !r.since.Equal(s.Since) {
			r = &gateRead{wave: s.Wave, since: s.Since, well: now, reading: rollout.Reading{Gate: text, Says: rollout.Unknown, Reason: "it is being asked"}}
			g.read[key] = r
		}
		switch gate.Kind {
		case rollout.GateHealth:
			r.reading = g.health(t, s, gate, r.well, now)
		case rollout.GateErrors:
			r.reading = g.errors(t, s, gate, r.well, now)
		default:
			g.beside(t, s, gate, r)
		}
		all = append(all, r.reading)
	}
	return all
}

// beside asks what takes time, again and again. The lock is held.
func (g *gates) beside(t *travel, s rollout.State, gate rollout.Gate, r *gateRead) {
	if r.asking || !r.asked.IsZero() && time.Since(r.asked) < g.station.cfg.GateEvery {
		return
	}
	r.asking = true
	question := GateQuestion{Rollout: t.id, By: t.author, Message: t.plan.Message, Wave: s.Wave, Waves: len(t.plan.Steps), Nodes: t.plan.Nodes[:s.Released]}
	for _, c := range t.plan.Changes {
		question.Changes = append(question.Changes, c.Resource())
	}
	ctx := g.ctx
	g.all.Go(func() {
		says, reason := rollout.Unknown, ""
		var err error
		if gate.Kind == rollout.GatePrometheus {
			says, reason, err = askPrometheus(ctx, gate)
		} else {
			says, reason, err = g.program(ctx, gate, question)
		}
		if err != nil {
			says, reason = rollout.Unknown, err.Error()
		}
		g.mu.Lock()
		r.reading = rollout.Reading{Gate: gate.String(), Says: says, Reason: clip(strings.TrimSpace(reason))}
		r.asking, r.asked = false, time.Now()
		g.mu.Unlock()
		g.station.rollouts.wake()
	})
}

// gateTime bounds one question to a Prometheus.
const gateTime = 5 * time.Second

// asks follows no redirection and no proxy: what is asked is what the gate names.
var asks = &http.Client{Timeout: gateTime, Transport: &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it sends us elsewhere") }}

// mostSamples bounds a Prometheus's answer.
const mostSamples = 1 << 20

// askPrometheus asks an instant query; every sample of it must pass, and there must
// be one.
func askPrometheus(ctx context.Context, gate rollout.Gate) (says, reason string, err error) {
	base, query, err := gate.Query()
	if err != nil {
		return "", "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return "", "", err
	}
	response, err := asks.Do(request)
	if err != nil {
		return "", "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, mostSamples))
	if err != nil {
		return "", "", err
	}
	var answer struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if json.Unmarshal(body, &answer) != nil || answer.Status == "" {
		return "", "", fmt.Errorf("what answers with %s is no Prometheus", response.Status)
	}
	if answer.Status != "success" {
		return "", "", fmt.Errorf("it answers: %s", answer.Error)
	}
	values, err := samples(answer.Data.ResultType, answer.Data.Result)
	if err != nil {
		return "", "", err
	}
	for _, v := range values {
		if !gate.Holds(v) {
			return rollout.Refuses, fmt.Sprintf("it is %v", v), nil
		}
	}
	return rollout.Passes, "", nil
}

func samples(kind string, result json.RawMessage) (values []float64, err error) {
	var pairs [][2]any
	switch kind {
	case "scalar":
		pairs = make([][2]any, 1)
		err = json.Unmarshal(result, &pairs[0])
	case "vector":
		var vector []struct{ Value [2]any }
		err = json.Unmarshal(result, &vector)
		for _, v := range vector {
			pairs = append(pairs, v.Value)
		}
	default:
		err = fmt.Errorf("the query gives a %s: it must give a number", kind)
	}
	if err != nil {
		return nil, err
	}
	for _, pair := range pairs {
		text, _ := pair[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) {
			return nil, fmt.Errorf("the query gives %q, which is no number", text)
		}
		values = append(values, v)
	}
	if len(values) == 0 {
		return nil, errors.New("the query gives nothing")
	}
	return values, nil
}

func (g *gates) program(ctx context.Context, gate rollout.Gate, q GateQuestion) (says, reason string, err error) {
	if g.station.cfg.GateProgram == nil {
		return "", "", errors.New("this station runs no programs: start it with --gates DIR")
	}
	question, err := json.Marshal(q)
	if err != nil {
		return "", "", err
	}
	a, err := g.station.cfg.GateProgram(ctx, gate.What, question)
	switch {
	case err != nil:
		return "", "", err
	case a.ExitCode == 0:
		return rollout.Passes, a.Reason, nil
	case a.ExitCode == 1:
		return rollout.Refuses, a.Reason, nil
	}
	return "", "", fmt.Errorf("it ended with exit code %d: %s", a.ExitCode, a.Reason)
}

// health compares a field of the newest health report of every released node that
// is there.
func (g *gates) health(t *travel, s rollout.State, gate rollout.Gate, well, now time.Time) rollout.Reading {
	unknown := ""
	for _, name := range t.plan.Nodes[:s.Released] {
		n := g.station.register.get(name)
		if !g.station.takes(n, now) {
			continue
		}
		v, why := 0.0, ""
		if why = n.measuredSince(well); why == "" {
			v, why = reported(n.health.Body(), gate.What)
		}
		switch {
		case why != "":
			unknown = name + ": " + why
		case !gate.Holds(v):
			return rollout.Reading{Gate: gate.String(), Says: rollout.Refuses, Reason: fmt.Sprintf("%s has %v", name, v)}
		}
	}
	return readingOf(gate, unknown)
}

func readingOf(gate rollout.Gate, unknown string) rollout.Reading {
	if unknown != "" {
		return rollout.Reading{Gate: gate.String(), Says: rollout.Unknown, Reason: unknown}
	}
	return rollout.Reading{Gate: gate.String(), Says: rollout.Passes}
}

// measuredSince is why a node's health says nothing of a moment, "" where it does.
func (n node) measuredSince(well time.Time) string {
	if n.healthAt.Before(well) {
		return "no health report since it is well"
	}
	return ""
}

// reported finds a number, or true as 1, in a report.
func reported(report json.RawMessage, path string) (v float64, why string) {
	var at any
	if json.Unmarshal(report, &at) != nil {
		return 0, "its health report cannot be read"
	}
	for name := range strings.SplitSeq(path, ".") {
		object, _ := at.(map[string]any)
		var there bool
		if at, there = object[name]; !there {
			return 0, fmt.Sprintf("its health report has no field %s", path)
		}
	}
	switch at := at.(type) {
	case float64:
		return at, ""
	case bool:
		if at {
			return 1, ""
		}
		return 0, ""
	}
	return 0, fmt.Sprintf("field %s of its health report is no number", path)
}

// errors compares the share of answers with a status of 500 or more, of all
// released nodes that are there together.
func (g *gates) errors(t *travel, s rollout.State, gate rollout.Gate, well, now time.Time) rollout.Reading {
	var sum nginx.Answered
	unknown := ""
	for _, name := range t.plan.Nodes[:s.Released] {
		n := g.station.register.get(name)
		if !g.station.takes(n, now) {
			continue
		}
		var report struct{ Nginx nginx.Status }
		why := n.measuredSince(well)
		if why == "" && (json.Unmarshal(n.health.Body(), &report) != nil || report.Nginx.Answered == nil) {
			why = "its nginx counts no answers: a NodePolicy with a bake has it do so"
		}
		if why != "" {
			unknown = name + ": " + why
			continue
		}
		sum.Answers += report.Nginx.Answered.Answers
		sum.Errors += report.Nginx.Answered.Errors
	}
	if share := sum.Percent(); unknown == "" && !gate.Holds(share) {
		return rollout.Reading{Gate: gate.String(), Says: rollout.Refuses, Reason: fmt.Sprintf("%d of %d answers, %.2f %%", sum.Errors, sum.Answers, share)}
	}
	return readingOf(gate, unknown)
}
