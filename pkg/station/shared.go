package station

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// shared holds once what many nodes have alike: names of senders, versions, labels,
// modules of nginx. What comes with a message is a piece of all of its headers and
// keeps them alive, so whatever is kept of one goes through here or is cloned. What it
// gives is not to be changed.
type shared struct {
	mu     sync.Mutex
	texts  map[string]string
	lists  map[string][]string
	labels map[string]map[string]string
}

// Bounds of what is remembered of each kind, since nodes choose it. Beyond sharedMost
// all of them are forgotten, and who has one keeps it. What is longer than sharedLong
// bytes nobody else will have, and it is not remembered.
const (
	sharedMost = 4096
	sharedLong = 4 << 10
)

// of gives what is remembered under a key, or remembers what is made. The lock is held.
func of[T any](memory *map[string]T, key string, make func() T) T {
	if len(key) > sharedLong {
		return make()
	}
	have, known := (*memory)[key]
	if known {
		return have
	}
	if *memory == nil || len(*memory) >= sharedMost {
		*memory = map[string]T{}
	}
	have = make()
	(*memory)[strings.Clone(key)] = have
	return have
}

func (s *shared) text(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return of(&s.texts, text, func() string { return strings.Clone(text) })
}

func (s *shared) list(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return of(&s.lists, keyOf(list), func() []string { return slices.Clone(list) })
}

func (s *shared) labelsOf(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key, labels[key])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return of(&s.labels, keyOf(pairs), func() map[string]string { return maps.Clone(labels) })
}

// keyOf is another for each list.
func keyOf(list []string) string {
	var b strings.Builder
	for _, text := range list {
		b.WriteString(strconv.Itoa(len(text)))
		b.WriteByte(' ')
		b.WriteString(text)
	}
	return b.String()
}
