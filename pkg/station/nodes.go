package station

import (
	"context"
	"encoding/json"
	"slices"
	"sort"
	"time"

	"fairlead/pkg/fleet"
)

// NodesQuestion chooses nodes by everything that it says, and asks for them a
// page at a time.
type NodesQuestion struct {
	Selector string   `json:"selector,omitempty"` // labels, see fleet.ParseSelector
	Fields   string   `json:"fields,omitempty"`   // see fleet.ParseFields and Fields
	Names    []string `json:"names,omitempty"`    // only these
	Active   bool     `json:"active,omitempty"`   // none that is drained
	After    string   `json:"after,omitempty"`    // the last name of the page before
	Most     int      `json:"most,omitempty"`     // of one page; 0 is as many as it takes
	Show     string   `json:"show,omitempty"`     // what is wanted of each: all, or ShowList or ShowNames
}

// What a question may want of each node instead of all that NodeStatus has:
// many nodes are then few bytes.
const (
	ShowList  = "list"  // what a table of nodes shows
	ShowNames = "names" // the name alone
)

// NodesAnswer is one page, by name.
type NodesAnswer struct {
	Nodes []NodeStatus `json:"nodes"`
	More  bool         `json:"more"`
	Now   time.Time    `json:"now"` // the broker's clock
}

// nodesPage is a NodesAnswer as it is written.
type nodesPage struct {
	Nodes []json.RawMessage `json:"nodes"`
	More  bool              `json:"more"`
	Now   time.Time         `json:"now"`
}

// named and listed are the parts of NodeStatus that ShowNames and ShowList give.
type named struct {
	Name string `json:"name"`
}

type listed struct {
	Name             string            `json:"name"`
	Labels           map[string]string `json:"labels,omitempty"`
	Presence         string            `json:"presence"`
	LastSeen         time.Time         `json:"lastSeen,omitzero"`
	Agents           []Instance        `json:"agents,omitempty"`
	Sync             string            `json:"sync"`
	DesiredRevision  uint64            `json:"desiredRevision,omitempty"`
	ObservedRevision uint64            `json:"observedRevision,omitempty"`
	Waiting          int               `json:"waiting,omitempty"`
	Drained          *Drain            `json:"drained,omitempty"`
}

func (s NodeStatus) show(what string) any {
	switch what {
	case ShowNames:
		return named{s.Name}
	case ShowList:
		return listed{s.Name, s.Labels, s.Presence, s.LastSeen, s.Agents, s.Sync, s.DesiredRevision, s.ObservedRevision, s.Waiting, s.Drained}
	}
	return s
}

// selection is a NodesQuestion that was read.
type selection struct {
	question NodesQuestion
	labels   fleet.Selector
	fields   fleet.FieldSelector
	asked    func(name string) bool
}

func (q NodesQuestion) read() (s selection, err error) {
	s.question, s.asked = q, among(q.Names)
	if s.labels, err = fleet.ParseSelector(q.Selector); err != nil {
		return s, err
	}
	s.fields, err = fleet.ParseFields(q.Fields, Fields())
	return s, err
}

// each hands over the status of the nodes that are chosen, by name, until yield
// returns false.
func (s *Station) each(chosen selection, now time.Time, yield func(NodeStatus) bool) {
	names, q := s.register.names(), chosen.question
	for _, name := range names[sort.Search(len(names), func(i int) bool { return names[i] > q.After }):] {
		if !chosen.asked(name) {
			continue
		}
		n := s.register.get(name)
		switch {
		case n.record.Key == "", q.Active && n.record.Drained != nil:
			continue
		case !chosen.labels.Empty() && !chosen.labels.Matches(n.record.AllLabels()):
			continue
		case q.Show == ShowNames && chosen.fields.Empty():
			if !yield(NodeStatus{Name: name}) {
				return
			}
			continue
		}
		status := s.statusOf(n, now)
		if !chosen.fields.Matches(func(field string) fleet.FieldValue { return valueOf(field, status, n.facts, now) }) {
			continue
		}
		if !yield(status) {
			return
		}
	}
}

func (s *Station) answerNodes(_ context.Context, q NodesQuestion) (nodesPage, error) {
	chosen, err := q.read()
	if err != nil {
		return nodesPage{}, err
	}
	most := mostNodes
	if q.Most > 0 {
		most = min(q.Most, most)
	}
	answer := nodesPage{Now: s.clock.Now(), Nodes: []json.RawMessage{}}
	var size page
	s.each(chosen, answer.Now, func(status NodeStatus) bool {
		item, fits := size.takes(status.show(q.Show), most)
		if fits {
			answer.Nodes = append(answer.Nodes, item)
		}
		answer.More = !fits
		return fits
	})
	return answer, nil
}

// Summary counts nodes.
type Summary struct {
	Nodes    int            `json:"nodes"`
	Sync     map[string]int `json:"sync"`     // by the words for it
	Presence map[string]int `json:"presence"` // by the words for it
	Drained  int            `json:"drained"`
	// Stale counts those in sync that are not there: they were when they were there last.
	Stale   int `json:"stale"`
	Waiting int `json:"waiting"` // commands without a final answer
	// Expired and Expiring count nodes that serve a certificate which has ended,
	// or ends within ExpiresSoon; Ends is the name of the one that does so first.
	Expired  int    `json:"expired,omitempty"`
	Expiring int    `json:"expiring,omitempty"`
	Ends     string `json:"ends,omitempty"`
	// Worst is a node that is not in sync, or lives twice, by name the first.
	Worst string    `json:"worst,omitempty"`
	Now   time.Time `json:"now"` // the broker's clock
}

// ExpiresSoon is how long before its end a certificate is warned about.
const ExpiresSoon = 30 * 24 * time.Hour

// Add counts one more node, at a moment of the broker's clock.
func (s *Summary) Add(n NodeStatus) {
	s.Nodes++
	if s.Sync == nil {
		s.Sync, s.Presence = make(map[string]int), make(map[string]int)
	}
	s.Sync[n.Sync]++
	s.Presence[n.Presence]++
	s.Waiting += n.Waiting
	if n.Stale() {
		s.Stale++
	}
	if n.Drained != nil {
		s.Drained++
	}
	if s.Worst == "" && (n.Presence == Duplicate || !slices.Contains([]string{InSync, NoneDue}, n.Sync)) {
		s.Worst = n.Name
	}
	if n.Expiring == nil || n.Expiring.NotAfter.Sub(s.Now) >= ExpiresSoon {
		return
	}
	if s.Ends == "" {
		s.Ends = n.Expiring.Name
	}
	if n.Expiring.NotAfter.After(s.Now) {
		s.Expiring++
	} else {
		s.Expired++
	}
}

func (s *Station) answerSummary(_ context.Context, q NodesQuestion) (Summary, error) {
	chosen, err := q.read()
	answer := Summary{Now: s.clock.Now(), Sync: map[string]int{}, Presence: map[string]int{}}
	if err != nil {
		return answer, err
	}
	chosen.question.Show = ""
	s.each(chosen, answer.Now, func(status NodeStatus) bool {
		answer.Add(status)
		return true
	})
	return answer, nil
}
