package message

// Lifecycle is the body of a lifecycle event: a node came, went or recovered,
// or, in the domain of its nginx, something happened to that.
type Lifecycle struct {
	Event   string `json:"event"`
	Version string `json:"version,omitempty"` // of the agent
	BootID  string `json:"bootId,omitempty"`  // of the host's kernel
	// Methods are those that the agent has handlers for.
	Methods []string `json:"methods,omitempty"`
	// EverySeconds is the time between its health reports; 0 is none.
	EverySeconds float64 `json:"everySeconds,omitempty"`
	// Instance names this start of the agent, as its heartbeats do.
	Instance string `json:"instance,omitempty"`
	// Rejoin is of a rejoined event.
	Rejoin *Rejoin `json:"rejoin,omitempty"`
	// Message tells a person more, such as what was recovered.
	Message string `json:"message,omitempty"`
}

// Rejoin says how a node was away and what it brings along.
type Rejoin struct {
	OfflineSeconds float64 `json:"offlineSeconds"` // altogether, of all interruptions
	Reason         string  `json:"reason"`         // of the last one
	// Interruptions are those since the event before this one, with those too
	// short to be told by themselves.
	Interruptions int    `json:"interruptions"`
	Observed      uint64 `json:"observedRevision"` // that nginx was proven to run last
	Spool         int    `json:"spool"`            // batches of logs that wait
	Outbox        int    `json:"outbox"`           // answers and events that do
	// ClockOffsetSeconds is the node's clock less the broker's.
	ClockOffsetSeconds float64 `json:"clockOffsetSeconds"`
}

// Lifecycle events of the agent; those of nginx are the Event constants of
// package nginx.
const (
	LifecycleStarted   = "started"   // the agent began to run
	LifecycleReturned  = "returned"  // the link stands again after a break
	LifecycleRejoined  = "rejoined"  // the link stands again after more than a moment: see Rejoin
	LifecycleStopped   = "stopped"   // the agent was told to stop
	LifecycleRecovered = "recovered" // the journal was set aside and begun anew
	LifecycleDropped   = "dropped"   // the full spool lost log records
)

// LifecycleDomain is the domain of the agent's own lifecycle events.
const LifecycleDomain = "agent"

// Lifecycle events of a node's identity; a station tells them.
const (
	LifecycleWaiting     = "waiting"     // wants to join, and a person has to approve it
	LifecycleJoined      = "joined"      // is a node from now on
	LifecycleJoinRefused = "joinrefused" // wanted to join and may not
	LifecycleRenewed     = "renewed"     // has new JWTs
	LifecycleRotated     = "rotated"     // has a new key
	LifecycleRemoved     = "removed"     // was taken out of the register
	LifecycleRenamed     = "renamed"     // has another name from now on, or had another until now
	LifecycleDuplicate   = "duplicate"   // two agents live under its name
)

// IdentityDomain is their domain.
const IdentityDomain = "identity"
