package message

import (
	"net/http"

	"fairlead/pkg/fleet"
)

// Exit codes of the command line.
const (
	ExitOK      = 0 // all succeeded
	ExitFailed  = 1 // some failed
	ExitRefused = 2 // bad input, or refused
	ExitPending = 3 // some have not ended yet, or nobody answered who would know
	ExitNothing = 4 // nothing matched
)

// Settlement is what an error's kind means to each of those who are told.
type Settlement struct {
	State State // of the answer
	Exit  int   // of the command line
	HTTP  int   // of the API
}

// settlements is the one table. Nobody else maps a kind to anything.
var settlements = map[fleet.Kind]Settlement{
	"":                {Succeeded, ExitOK, http.StatusOK},
	fleet.Invalid:     {Rejected, ExitRefused, http.StatusBadRequest},
	fleet.Refused:     {Rejected, ExitRefused, http.StatusForbidden},
	fleet.Unknown:     {Rejected, ExitNothing, http.StatusNotFound},
	fleet.Conflict:    {Rejected, ExitRefused, http.StatusConflict},
	fleet.Busy:        {Rejected, ExitRefused, http.StatusTooManyRequests},
	fleet.Paused:      {Rejected, ExitPending, http.StatusLocked},
	fleet.Expired:     {Expired, ExitFailed, http.StatusGone},
	fleet.Cancelled:   {Cancelled, ExitFailed, http.StatusGone},
	fleet.Superseded:  {Superseded, ExitOK, http.StatusOK},
	fleet.Failed:      {FailedEnd, ExitFailed, http.StatusUnprocessableEntity},
	fleet.Timeout:     {FailedEnd, ExitPending, http.StatusGatewayTimeout},
	fleet.Unavailable: {FailedEnd, ExitPending, http.StatusServiceUnavailable},
	fleet.Interrupted: {FailedEnd, ExitFailed, http.StatusInternalServerError},
	fleet.Internal:    {FailedEnd, ExitFailed, http.StatusInternalServerError},
}

// Settle says what an error means; nil is success. A kind that is not in the
// table counts as Internal.
func Settle(err error) Settlement {
	s, ok := settlements[fleet.KindOf(err)]
	if !ok {
		return settlements[fleet.Internal]
	}
	return s
}

// ExitOf is the exit code for a command's state and the kind that its answer
// names. Rejected counts as refused, but as pending where the node does by itself
// later what was asked for; superseded as success, since the newer command did the work.
func ExitOf(s State, k fleet.Kind) int {
	switch s {
	case Succeeded, Superseded:
		return ExitOK
	case Rejected:
		if later := settlements[k]; later.State == Rejected && later.Exit == ExitPending {
			return ExitPending
		}
		return ExitRefused
	case FailedEnd, Expired, Cancelled:
		return ExitFailed
	}
	return ExitPending
}
