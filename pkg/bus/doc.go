// Package bus is the message bus as Fairlead uses it: the only importer of
// the NATS client.
//
// What it promises: Publish returns once the message is stored, and the
// message is stored once however often it is published; Subscribe hands over
// stored messages in the order of the stream; Read sees every message of a
// stream that it has not passed, across reconnects. A connection that is lost
// comes back by itself; in between calls fail at once with kind Unavailable
// rather than pile up in memory.
//
//	conn, err := bus.Connect(ctx, bus.Options{URL: url, Credentials: creds})
//	defer conn.Close()
//	seq, err := conn.Publish(ctx, msg)
package bus
