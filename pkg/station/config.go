package station

import (
	"context"
	"log/slog"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// Config is everything a station needs to know.
type Config struct {
	URL         string
	TLS         bus.TLS
	Server      bus.InProcess // instead of URL
	Credentials bus.Credentials
	Trust       message.Message   // the signed trust set to begin with: whose word counts
	Revoked     [][]byte          // the lists of revoked nodes that Trust names, as far as they are at hand
	Storage     subjects.Settings // of streams and buckets; zero fields take the defaults
	Version     string
	// Curve opens the private keys of certificates; without it none is served.
	Curve message.StationCurve

	// Issuer makes the JWTs of nodes; without it nobody joins or renews here.
	Issuer Issuer
	// NodeLife is how long a node's JWT holds; 90 days, and at most that. For as long again the
	// node may renew it and do nothing else.
	NodeLife time.Duration
	// JoinHelper decides about each node that wants to join, where there is one.
	JoinHelper func(context.Context, JoinCandidate) (JoinVerdict, error)

	// SyncsAtOnce is how many nodes are answered at once that ask for what waits; the
	// others are told when to ask again. 256: each answer may have nearly a megabyte.
	SyncsAtOnce int

	// SweepEvery is the pause between looks for commands that ended, expired or
	// seem stuck; a second.
	SweepEvery time.Duration
	// NudgeAfter is how long a command to a node that is there may stay without
	// any answer before the node is told to ask; 5 seconds.
	NudgeAfter time.Duration
	// ExpireAfter is how long after a command's time a node may still answer
	// before the station ends it as expired; a minute.
	ExpireAfter time.Duration
	// StrangersAfter is how long what somebody signed whom this station does not
	// believe is left alone before it is taken for rubbish; a minute. Within it a
	// station has to hear of a new trust set.
	StrangersAfter time.Duration
	// PartsAfter is how old a part of a desired state is at least when it is removed
	// because no document names it any more, and how often that is looked for; 10
	// minutes. Within it a station has to write the document that it stored parts for.
	PartsAfter time.Duration
	// CheckpointEvery is the pause between checkpoints of the audit while it
	// grows, and six times that where it grows by little; 10 seconds. It is the time
	// that somebody who takes the broker has to change what was just written unseen.
	CheckpointEvery time.Duration

	// RolloutEvery is the pause between looks at rollouts while nothing happens;
	// half a second.
	RolloutEvery time.Duration
	// LeaseEvery is the pause between renewals of the lease to drive rollouts; another
	// station takes over after three times that. 2 seconds.
	LeaseEvery time.Duration
	// GateEvery is the pause between questions to a gate of a rollout; 5 seconds.
	GateEvery time.Duration
	// GateProgram asks the program of a gate, by its name; nil where there is none.
	GateProgram func(ctx context.Context, name string, question []byte) (GateAnswer, error)

	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	set(&c.NodeLife, subjects.MaxNodeLife)
	set(&c.SyncsAtOnce, 256)
	set(&c.SweepEvery, time.Second)
	set(&c.NudgeAfter, 5*time.Second)
	set(&c.ExpireAfter, time.Minute)
	set(&c.StrangersAfter, time.Minute)
	set(&c.PartsAfter, 10*time.Minute)
	set(&c.CheckpointEvery, 10*time.Second)
	set(&c.RolloutEvery, 500*time.Millisecond)
	set(&c.LeaseEvery, 2*time.Second)
	set(&c.GateEvery, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate returns all faults at once.
func (c Config) Validate() error {
	var faults fleet.Faults
	if c.URL == "" && c.Server == nil {
		faults.Addf("url", "is empty: give the broker's address, such as tls://broker.example.org:4222")
	}
	if c.Credentials == nil {
		faults.Addf("credentials", "are missing")
	}
	if c.Trust.Signature == "" {
		faults.Addf("trust", "is missing")
	} else if _, err := message.OpenTrust(c.Trust); err != nil {
		faults.Addf("trust", "%v", err)
	}
	if c.NodeLife > subjects.MaxNodeLife {
		faults.Addf("nodeLife", "%v is longer than %d days: a revoked node is barred for twice that, as long as its JWTs can hold", c.NodeLife, int(subjects.MaxNodeLife.Hours()/24))
	}
	return faults.Err()
}
