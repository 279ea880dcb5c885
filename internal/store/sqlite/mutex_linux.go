package sqlite

import (
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// The Go driver opens each connection with a mutex, which every call of SQLite locks
// several times. Here one goroutine at a time uses a connection, which a transaction
// occupies; an interrupt, which may come from another one, locks nothing. So the mutex of
// a connection does nothing, and the statistics of memory, which nobody reads, are off.
// Mutexes of what connections share are real. Before the first connection is opened,
// SQLite lets a program choose its mutexes: https://sqlite.org/c3ref/mutex_methods.html.
func init() {
	tls := libc.NewTLS()
	defer tls.Close()
	args := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(uintptr(0))))
	defer libc.Xfree(tls, args)
	methods := uintptr(unsafe.Pointer(&mutexMethods))
	if lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_MUTEX, libc.VaList(args, methods)) != lib.SQLITE_OK ||
		lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_MEMSTATUS, libc.VaList(args, int32(0))) != lib.SQLITE_OK {
		panic("sqlite: it was used before its mutexes were set")
	}
	// Its own start relies on a recursive mutex, so it is not left to the first connections.
	if lib.Xsqlite3_initialize(tls) != lib.SQLITE_OK {
		panic("sqlite: it cannot start")
	}
}

// mutexMethods are C functions: pointers to Go function values, as the driver calls them.
var mutexMethods = lib.Tsqlite3_mutex_methods{
	FxMutexInit: *(*uintptr)(unsafe.Pointer(&struct{ f func(*libc.TLS) int32 }{mutexInit})),
	FxMutexEnd:  *(*uintptr)(unsafe.Pointer(&struct{ f func(*libc.TLS) int32 }{mutexInit})),
	FxMutexAlloc: *(*uintptr)(unsafe.Pointer(&struct {
		f func(*libc.TLS, int32) uintptr
	}{mutexAlloc})),
	FxMutexFree:  *(*uintptr)(unsafe.Pointer(&struct{ f func(*libc.TLS, uintptr) }{mutexFree})),
	FxMutexEnter: *(*uintptr)(unsafe.Pointer(&struct{ f func(*libc.TLS, uintptr) }{mutexEnter})),
	FxMutexTry: *(*uintptr)(unsafe.Pointer(&struct {
		f func(*libc.TLS, uintptr) int32
	}{mutexTry})),
	FxMutexLeave: *(*uintptr)(unsafe.Pointer(&struct{ f func(*libc.TLS, uintptr) }{mutexLeave})),
}

var (
	// staticMutexes are those that SQLite names by a number.
	staticMutexes [32]sync.Mutex
	// connMutex stands for the mutexes of all connections, the only recursive ones.
	connMutex byte
	noMutex   = uintptr(unsafe.Pointer(&connMutex))
)

func mutexInit(*libc.TLS) int32 { return lib.SQLITE_OK }

func mutexAlloc(tls *libc.TLS, kind int32) uintptr {
	switch {
	case kind == lib.SQLITE_MUTEX_RECURSIVE:
		return noMutex
	case kind == lib.SQLITE_MUTEX_FAST:
		return libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(sync.Mutex{})))
	case int(kind) < len(staticMutexes):
		return uintptr(unsafe.Pointer(&staticMutexes[kind]))
	}
	return 0
}

// mutexFree is called for mutexes that connections have and that are not static.
func mutexFree(tls *libc.TLS, m uintptr) {
	if m != noMutex {
		libc.Xfree(tls, m)
	}
}

// mutexAt returns the mutex at an address, which no garbage collection moves or frees.
func mutexAt(m uintptr) *sync.Mutex { return *(**sync.Mutex)(unsafe.Pointer(&m)) }

func mutexEnter(_ *libc.TLS, m uintptr) {
	if m != noMutex {
		mutexAt(m).Lock()
	}
}

func mutexTry(_ *libc.TLS, m uintptr) int32 {
	if m != noMutex && !mutexAt(m).TryLock() {
		return lib.SQLITE_BUSY
	}
	return lib.SQLITE_OK
}

func mutexLeave(_ *libc.TLS, m uintptr) {
	if m != noMutex {
		mutexAt(m).Unlock()
	}
}
