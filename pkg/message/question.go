package message

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
)

// Question asks nodes whether they are there. Nobody proves it: what it brings about
// is a heartbeat, which the node says every few seconds to whoever listens. Every
// node hears every question, so it names those that are asked by marks, which tell
// the others nothing.
type Question struct {
	ID    string   // a ULID: an answer is younger than its question
	marks []string // of the nodes that are asked; none for all
}

// MaxAsked is how many nodes a question can name; more than that are asked with all.
const MaxAsked = 64

// NewQuestion is one to some nodes, or to all where nodes is empty or longer than
// MaxAsked.
func NewQuestion(nodes []string) Question {
	q := Question{ID: NewID()}
	if len(nodes) <= MaxAsked {
		for _, n := range nodes {
			q.marks = append(q.marks, q.mark(n))
		}
	}
	return q
}

// mark is 72 bits by which a node knows itself, of this question alone.
func (q Question) mark(node string) string {
	sum := sha256.Sum256([]byte(q.ID + " " + node))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// Asks reports whether a node is asked.
func (q Question) Asks(node string) bool {
	return len(q.marks) == 0 || slices.Contains(q.marks, q.mark(node))
}

// Text is the question as it travels: words.
func (q Question) Text() []byte { return []byte(strings.Join(append([]string{q.ID}, q.marks...), " ")) }

// maxQuestion bounds one, in bytes.
const maxQuestion = 32 + MaxAsked*13

// ReadQuestion reads a question; ok is false for what is none.
func ReadQuestion(data []byte) (q Question, ok bool) {
	if len(data) > maxQuestion {
		return q, false
	}
	words := strings.Split(string(data), " ")
	return Question{words[0], words[1:]}, named(words[0])
}
