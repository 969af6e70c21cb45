// Package station is a management station: it keeps the register of nodes and
// the ledger of commands, compiles what every node should be, hands waiting
// commands to nodes that ask, and answers people's questions.
//
// It keeps nothing on its own disk: a station that starts reads streams and
// buckets and knows what the last one knew. Any number may run; what they
// write is compared and set, or created once, so two of them do what one does.
package station
