package worker

// afterClose runs f in a goroutine when c is closed. The returned function stops
// waiting.
func afterClose(c <-chan struct{}, f func()) (stop func()) {
	stopped := make(chan struct{})
	go func() {
		select {
		case <-c:
			f()
		case <-stopped:
		}
	}()
	return func() { close(stopped) }
}

// signal notifies the one receiver of a channel of capacity 1. Signals that are not
// received yet are merged.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
