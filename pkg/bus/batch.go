package bus

import (
	"encoding/json"

	"github.com/nats-io/nats.go/jetstream"
)

// batchRefusal reads the answer to the first message of an atomic batch: empty
// when it is taken, a JetStream error otherwise.
func batchRefusal(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	var reply struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &reply); err != nil {
		return err
	}
	if reply.Error != nil {
		return reply.Error
	}
	return nil
}
