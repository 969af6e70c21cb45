package syslog

import (
	"bufio"
	"io"
)

// Frames cuts a stream as a TCP connection does.
func Frames(r io.Reader) func() (frame []byte, cut bool, err error) {
	return (&frameReader{in: bufio.NewReader(r)}).next
}
