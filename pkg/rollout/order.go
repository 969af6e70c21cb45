package rollout

import (
	"encoding/json"
	"fmt"
	"time"

	"fairlead/pkg/fleet"
)

// What people order.
const (
	OrderPause   = "pause"
	OrderResume  = "resume"
	OrderAbort   = "abort"   // all nodes return to what was before
	OrderPromote = "promote" // the next wave now, whatever bake and gates say; with All the last one
	OrderApprove = "approve"
)

// Order is what a person wants of a rollout.
type Order struct {
	Do   string `json:"do"`
	Wave int    `json:"wave,omitempty"` // that a person approves or cuts short: the one she has seen
	All  bool   `json:"all,omitempty"`
	Why  string `json:"why,omitempty"`

	Sequence uint64 `json:"-"` // under which it is stored
	By       string `json:"-"` // who signed it
}

// DecodeOrder reads an order.
func DecodeOrder(body []byte) (o Order, err error) {
	if err := json.Unmarshal(body, &o); err != nil {
		return o, fleet.Errorf(fleet.Invalid, "order for a rollout: %w", err)
	}
	switch o.Do {
	case OrderPause, OrderResume, OrderAbort, OrderPromote, OrderApprove:
		return o, nil
	}
	return o, fleet.Errorf(fleet.Invalid, "order for a rollout: %q is none", o.Do)
}

// obey follows an order, or says why it cannot.
func (s State) obey(p Plan, o Order, now time.Time) State {
	s.Order, s.OrderSaid = o.Sequence, ""
	if s.Phase == Completing || s.Phase == RollingBack {
		s.OrderSaid = fmt.Sprintf("it is %s and goes on to its end", s.Phase)
		return s
	}
	switch o.Do {
	case OrderPause:
		if s.Phase != Paused {
			s.Phase, s.Reason = Paused, by(o)
		}
	case OrderResume:
		if s.Phase != Paused {
			s.OrderSaid = fmt.Sprintf("it is %s and not paused", s.Phase)
			return s
		}
		s.Phase, s.Reason, s.Forgiven, s.Good, s.Unsure = Running, "", s.Counts.Failed, time.Time{}, time.Time{}
		if s.Wave == 0 {
			s.Phase = Queued
		}
	case OrderAbort:
		if s.Wave == 0 {
			s.Reason = by(o)
			return s.end(Aborted, now)
		}
		return s.back(Aborted, by(o), now)
	case OrderPromote, OrderApprove:
		return s.hurry(p, o)
	}
	return s
}

// hurry takes the word of a person for a wave.
func (s State) hurry(p Plan, o Order) State {
	switch {
	case s.Wave == 0:
		s.OrderSaid = "it has not begun"
	case s.Phase == Paused:
		s.OrderSaid = "it is paused: resume it first"
	case o.Wave != 0 && o.Wave != s.Wave:
		s.OrderSaid = fmt.Sprintf("wave %d is over, it is at wave %d", o.Wave, s.Wave)
	case o.Do == OrderPromote && o.All:
		s.Promoted = len(p.Steps)
	case o.Do == OrderPromote:
		s.Promoted = max(s.Promoted, s.Wave)
	case !p.Steps[s.Wave-1].Approve:
		s.OrderSaid = fmt.Sprintf("wave %d needs no approval", s.Wave)
	default:
		s.Approved = s.Wave
	}
	return s
}

// by says who, and why where that was said.
func by(o Order) string {
	text := "by " + o.By
	if o.Why != "" {
		text += ": " + oneLine(o.Why)
	}
	return text
}
