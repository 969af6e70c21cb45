package message

import (
	"sync"
	"time"

	"fairlead/pkg/fleet"
)

// TrustKeeper is the newest trust set that its holder believes. It begins with
// one that was put into the holder's hands and never goes back. It is safe for
// use by several goroutines.
type TrustKeeper struct {
	now func() time.Time
	// Keep stores a set that was accepted, so that a restart does not go back
	// behind it; nil where nothing is stored. Set it before the first Offer.
	Keep func(Message) error

	offering sync.Mutex // held while a set is judged and kept
	mu       sync.RWMutex
	message  Message
	set      TrustSet
	find     Trust
	lists    map[string]revokedList // by hash
	changed  chan struct{}
}

// NewTrustKeeper begins with a pinned set; now is the broker's clock, zero
// while it is not known. The error is OpenTrust's.
func NewTrustKeeper(pinned Message, now func() time.Time) (*TrustKeeper, error) {
	set, err := OpenTrust(pinned)
	if err != nil {
		return nil, err
	}
	k := &TrustKeeper{now: now, message: pinned, set: set, lists: make(map[string]revokedList), changed: make(chan struct{})}
	k.build()
	return k, nil
}

// Current is the set that is believed. It is not to be changed.
func (k *TrustKeeper) Current() TrustSet {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.set
}

// Message is that set as it was signed.
func (k *TrustKeeper) Message() Message {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.message
}

// Find is a Trust.
func (k *TrustKeeper) Find(key string) (Trusted, bool) {
	k.mu.RLock()
	find := k.find
	k.mu.RUnlock()
	return find(key)
}

// Changed is closed when the next set is accepted.
func (k *TrustKeeper) Changed() <-chan struct{} {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.changed
}

// Offer takes a set if it may follow the one that is believed. The error is
// Accept's; one of Keep's is Internal, and the set is believed nevertheless,
// since what it takes back must not be believed any longer.
func (k *TrustKeeper) Offer(m Message) error {
	k.offering.Lock()
	defer k.offering.Unlock()
	set, err := k.Current().Accept(m)
	if err != nil {
		return err
	}
	k.replace(m, set)
	if k.Keep == nil {
		return nil
	}
	if err := k.Keep(m); err != nil {
		return fleet.Errorf(fleet.Internal, "keep trust set %d: %w", set.Version, err)
	}
	return nil
}

func (k *TrustKeeper) replace(m Message, set TrustSet) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.message, k.set = m, set
	k.build()
	close(k.changed)
	k.changed = make(chan struct{})
}

// NewestPinned is which of two sets of one's own a program begins with: the one
// that it kept, where that is of the same account and newer than the one that
// it was given. Either was put there by who rules the host, so nothing but the
// form of the kept one is checked.
func NewestPinned(given, kept Message) Message {
	g, errGiven := OpenTrust(given)
	k, errKept := OpenTrust(kept)
	if errKept == nil && (errGiven != nil || k.Account == g.Account && k.Version > g.Version) {
		return kept
	}
	return given
}
