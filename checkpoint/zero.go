package checkpoint

import "encoding/binary"

// isZero tells whether a page has only zeros. Most pages that have not show it
// in their first words.
func isZero(page []byte) bool {
	for len(page) >= 32 {
		if binary.LittleEndian.Uint64(page)|binary.LittleEndian.Uint64(page[8:])|
			binary.LittleEndian.Uint64(page[16:])|binary.LittleEndian.Uint64(page[24:]) != 0 {
			return false
		}
		page = page[32:]
	}
	return true
}

// zeroPages counts the pages of zeros that b starts with, dataPages those of
// other contents.
func zeroPages(b []byte) int {
	n := 0
	for len(b) >= pageSize && isZero(b[:pageSize]) {
		b = b[pageSize:]
		n++
	}
	return n
}

func dataPages(b []byte) int {
	n := 0
	for len(b) >= pageSize && !isZero(b[:pageSize]) {
		b = b[pageSize:]
		n++
	}
	return n
}
