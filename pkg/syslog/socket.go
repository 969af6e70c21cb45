package syslog

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// listenUnix binds a datagram socket, and gives its file so that Close can
// tell it from a successor's.
func listenUnix(path string, mode os.FileMode) (net.PacketConn, os.FileInfo, error) {
	if err := removeStale(path); err != nil {
		return nil, nil, err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, nil, err
	}
	err = os.Chmod(path, mode)
	file, statErr := os.Lstat(path)
	if err = errors.Join(err, statErr); err != nil {
		_ = conn.Close()
		_ = os.Remove(path)
		return nil, nil, err
	}
	return conn, file, nil
}

// removeStale removes the socket that a killed process left behind. Whether
// somebody listens is found by connecting: only a refusal proves that nobody
// does.
func removeStale(path string) error {
	file, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if file.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is no socket", path)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		_ = conn.Close()
		return errors.New("another process listens there")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("find out whether another process listens there: %w", err)
	}
	if stat, ok := file.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("a stale socket of user %d is there", stat.Uid)
	}
	removeSocket(path, file)
	return nil
}

// removeSocket removes the path while it is still that file.
func removeSocket(path string, file os.FileInfo) {
	if now, err := os.Lstat(path); err == nil && os.SameFile(now, file) {
		_ = os.Remove(path)
	}
}
