//go:build !amd64

package sleeping

// redZone is 0 in the ABI of arm64.
const redZone = 0

// legacy is empty: there are no poll, select and epoll_wait.
func legacy() map[int]handler { return nil }

const pollNumber = -1
