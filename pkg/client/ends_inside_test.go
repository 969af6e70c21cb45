package client

import (
	"testing"
	"time"

	"fairlead/pkg/message"
)

// What the streams do not let through can be told apart nevertheless: who holds
// the broker's files could put it there.
func TestCommandsThatDidNotEndOnceAreFaults(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		command ended
		cut     bool // the audit is not read from its beginning
		kind    string
		waiting int
	}{
		"ended":                           {command: ended{sequence: 1, expires: now, ends: []message.State{message.Succeeded}, last: 2}},
		"ended twice":                     {command: ended{sequence: 1, expires: now, ends: []message.State{message.Succeeded, message.Succeeded}, last: 3}, kind: EndTwice},
		"time left":                       {command: ended{sequence: 1, expires: now.Add(time.Second)}, waiting: 1},
		"just over":                       {command: ended{sequence: 1, expires: now.Add(-endGrace)}, waiting: 1},
		"over":                            {command: ended{sequence: 1, expires: now.Add(-endGrace - time.Second)}, kind: EndMissing},
		"nobody sent it":                  {command: ended{ends: []message.State{message.FailedEnd}, last: 9}, kind: EndEarly},
		"sent before what is looked at":   {command: ended{ends: []message.State{message.FailedEnd}, last: 9}, cut: true},
		"twice, of before what is looked": {command: ended{ends: []message.State{message.FailedEnd, message.Expired}, last: 9}, cut: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := &ending{whole: !c.cut, commands: map[string]*ended{"c": &c.command}}
			e := r.result(now)
			switch {
			case c.kind == "" && len(e.Faults) != 0:
				t.Errorf("%+v", e)
			case c.kind != "" && (len(e.Faults) != 1 || e.Faults[0].Kind != c.kind || e.Faults[0].Sequence == 0):
				t.Errorf("%+v", e)
			}
			if e.Waiting != c.waiting {
				t.Errorf("%d wait: %+v", e.Waiting, e)
			}
		})
	}
}
