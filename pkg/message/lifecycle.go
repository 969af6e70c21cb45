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
	// Message tells a person more, such as what was recovered.
	Message string `json:"message,omitempty"`
}

// Lifecycle events of the agent; those of nginx are the Event constants of
// package nginx.
const (
	LifecycleStarted   = "started"   // the agent began to run
	LifecycleReturned  = "returned"  // the link stands again after a break
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
)

// IdentityDomain is their domain.
const IdentityDomain = "identity"
