package subjects

import "time"

// Names of streams and buckets.
const (
	Commands = "COMMANDS"
	Events   = "EVENTS"
	Audit    = "AUDIT"
	Health   = "HEALTH"
	Logs     = "LOGS"

	Checkpoints = "CHECKPOINTS"
	Orders      = "ORDERS"

	Desired  = "desired"
	Reported = "reported"
	Fleet    = "fleet"
	Nodes    = "nodes"
	Rollouts = "rollouts"
	Trust    = "trust"
	Revoked  = "revoked"
	Tokens   = "tokens"
	Blobs    = "blobs"
)

// MaxCommandAge bounds every command's life: the mailbox keeps none longer.
const MaxCommandAge = 30 * 24 * time.Hour

// MaxTokenAge bounds the life of a token to join with.
const MaxTokenAge = 30 * 24 * time.Hour

// MaxNodeLife bounds how long a node's JWT holds; the one that renews it holds
// twice as long. Revocations of nodes are kept that long and no longer.
const MaxNodeLife = 90 * 24 * time.Hour

// MaxBlobAge is how long a part of a file is kept at most: as long as a command
// that names it can wait, and a little. Whoever stores one may say less.
const MaxBlobAge = MaxCommandAge + 2*24*time.Hour

// RolloutsAge is how long rollouts are kept: none takes a third of that.
const RolloutsAge = 90 * 24 * time.Hour

// CheckpointsLonger is how much longer CHECKPOINTS keeps a checkpoint than
// AUDIT keeps the messages that it covers.
const CheckpointsLonger = 30 * 24 * time.Hour

// Settings are what an operator may choose about storage; the zero value of a
// field takes the default of DefaultSettings.
type Settings struct {
	Replicas   int           // 1 on a lone broker, 3 on a cluster
	EventsAge  time.Duration // EVENTS
	AuditAge   time.Duration // AUDIT
	LogsAge    time.Duration // LOGS
	LogsBytes  int64         // LOGS, oldest dropped beyond
	BlobsBytes int64         // bucket blobs, nothing more is taken beyond
	HealthKept int64         // HEALTH, per subject
}

// DefaultSettings are those of a lone broker.
func DefaultSettings() Settings {
	day := 24 * time.Hour
	return Settings{
		// An end must be there longer than any command can wait: it is what keeps
		// the command from ending twice.
		Replicas: 1, EventsAge: MaxCommandAge + 7*day, AuditAge: 90 * day,
		LogsAge: 7 * day, LogsBytes: 10 << 30, BlobsBytes: 4 << 30, HealthKept: 120,
	}
}

// Or fills the fields of s that are zero from d.
func (s Settings) Or(d Settings) Settings {
	fill(&s.Replicas, d.Replicas)
	fill(&s.EventsAge, d.EventsAge)
	fill(&s.AuditAge, d.AuditAge)
	fill(&s.LogsAge, d.LogsAge)
	fill(&s.LogsBytes, d.LogsBytes)
	fill(&s.BlobsBytes, d.BlobsBytes)
	fill(&s.HealthKept, d.HealthKept)
	return s
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Stream is a stream's settings, in words that do not need the client library.
type Stream struct {
	Name          string        `json:"name"`
	Subjects      []string      `json:"subjects,omitempty"`
	Shown         *Transform    `json:"shown,omitempty"`   // republished there once stored
	Sources       []Source      `json:"sources,omitempty"` // copied from other streams
	MaxAge        time.Duration `json:"maxAge,omitempty"`
	MaxBytes      int64         `json:"maxBytes,omitempty"`
	MaxPerSubject int64         `json:"maxPerSubject,omitempty"`
	Replicas      int           `json:"replicas"`
	Immutable     bool          `json:"immutable,omitempty"` // no deletion, no purge
	// Ages allows times to live of single messages. AUDIT has it and nothing in it has one, since what
	// it copies allows none: a broker that was killed looks through such a stream once, and through one
	// that copies alone backwards from its end for each source's last message, at every subject of a block for every
	// message on the way. With 9,000 answers behind the last command that took 22 s, and grows with the square (nats-server 2.15.2).
	Ages bool `json:"ages,omitempty"`
}

// Transform rewrites a subject, in nats-server's syntax.
type Transform struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Bare leaves bodies out: what is stored is told of and read by itself.
	Bare bool `json:"bare,omitempty"`
}

// Source copies a stream into another one: all of it under other subjects, or what
// lies on one filter as it is.
type Source struct {
	Stream string    `json:"stream"`
	As     Transform `json:"as,omitzero"`
	Filter string    `json:"filter,omitempty"`
}

// Bucket is a key-value bucket's settings.
type Bucket struct {
	Name    string     `json:"name"`
	History int        `json:"history"`
	Shown   *Transform `json:"shown,omitempty"`
	Atomic  bool       `json:"atomic,omitempty"` // several keys can change in one step
	// MaxAge is how long an entry is kept that nobody writes again; 0 is for ever.
	MaxAge time.Duration `json:"maxAge,omitempty"`
	// MaxBytes is what it holds at most; more is refused. 0 is no bound.
	MaxBytes int64 `json:"maxBytes,omitempty"`
	Ages     bool  `json:"ages,omitempty"` // who writes an entry may say how long it is kept
	Replicas int   `json:"replicas"`
}

// shown drops the prefix and the id: stored subject to four tokens.
func shown(d Direction) Transform {
	return Transform{
		From: prefix + ".*." + string(d) + ".*.*.*",
		To:   "{{wildcard(1)}}." + string(d) + ".{{wildcard(2)}}.{{wildcard(3)}}",
	}
}

func storedEvents(method string) string {
	return prefix + ".*.event." + method + ".*.*"
}

// Streams are all streams, sources before those that copy them; buckets, which AUDIT
// copies too, are to be there before all of them.
func Streams(s Settings) []Stream {
	s = s.Or(DefaultSettings())
	commands, events := shown(Command), shown(Event)
	return []Stream{
		{Name: Commands, Subjects: []string{commands.From}, Shown: &commands, MaxAge: MaxCommandAge, Replicas: s.Replicas},
		{Name: Events, Subjects: []string{storedEvents(MethodAck), storedEvents(MethodLifecycle)}, Shown: &events,
			MaxAge: s.EventsAge, Replicas: s.Replicas},
		{Name: Audit, Sources: []Source{{Stream: Commands, As: commands}, {Stream: Events, As: events},
			{Stream: BucketStream(Rollouts), Filter: KeySubject(Rollouts, RolloutKey("*", RolloutPlan))},
			{Stream: BucketStream(Rollouts), Filter: KeySubject(Rollouts, RolloutKey("*", RolloutOrder))}},
			MaxAge: s.AuditAge, Replicas: s.Replicas, Immutable: true, Ages: true},
		{Name: Checkpoints, Subjects: []string{Checkpoint}, MaxAge: s.AuditAge + CheckpointsLonger,
			Replicas: s.Replicas, Immutable: true},
		// An order is there as long as the answers that say what became of it. A
		// bound in bytes would be set aside at once, of a tenant's quota too.
		{Name: Orders, Subjects: []string{OrderSubject("*"), QueueSubject("*", "*")}, MaxAge: s.EventsAge,
			Replicas: s.Replicas, Immutable: true},
		{Name: Health, Subjects: []string{storedEvents(MethodHealth)}, Shown: &events,
			MaxPerSubject: s.HealthKept, Replicas: s.Replicas},
		{Name: Logs, Subjects: []string{storedEvents(MethodSyslog)}, Shown: &events,
			MaxAge: s.LogsAge, MaxBytes: s.LogsBytes, Replicas: s.Replicas},
	}
}

// Buckets are all key-value buckets.
func Buckets(s Settings) []Bucket {
	s = s.Or(DefaultSettings())
	desired := Transform{From: KeySubject(Desired, StateKey("*", "*", "*")), To: "live.desired.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}", Bare: true} // and no parts
	trust := Transform{From: KeySubject(Trust, ">"), To: "live.trust.>"}
	return []Bucket{
		{Name: Desired, History: 64, Shown: &desired, Replicas: s.Replicas},
		{Name: Reported, History: 8, Replicas: s.Replicas},
		{Name: Fleet, History: 64, Atomic: true, Replicas: s.Replicas},
		{Name: Nodes, History: 64, Replicas: s.Replicas},
		{Name: Rollouts, History: 64, Atomic: true, MaxAge: RolloutsAge, Replicas: s.Replicas},
		// A token and its uses are kept until no clock can take it for a good one.
		{Name: Tokens, History: 8, MaxAge: 2 * MaxTokenAge, Replicas: s.Replicas},
		{Name: Trust, History: 64, Shown: &trust, Replicas: s.Replicas},
		{Name: Revoked, History: 4, Replicas: s.Replicas},
		{Name: Blobs, History: 1, MaxAge: MaxBlobAge, MaxBytes: s.BlobsBytes, Ages: true, Replicas: s.Replicas},
	}
}

// Mappings let any client publish on the four tokens and have JetStream store
// it: an account carries them, and permissions are checked after them.
func Mappings() []Transform {
	return []Transform{
		{From: "*.command.*.*", To: prefix + ".{{wildcard(1)}}.command.{{wildcard(2)}}.{{wildcard(3)}}." + NoID},
		{From: "*.event.*.*", To: prefix + ".{{wildcard(1)}}.event.{{wildcard(2)}}.{{wildcard(3)}}." + NoID},
	}
}
