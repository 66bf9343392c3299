// Package image writes and reads checkpoint images: a directory with the records
// of package specs in image.rt, page data in pages-N.rp, and whatever else a
// record names (tmpfs-N.tar). specs/SPEC.md draws the layout.
//
// # Writing
//
// Create makes DIR.partial and locks it. Records come by Put, in any order and
// from any number of goroutines; page data goes straight into the files of Pages,
// written by whoever has the pages at hand, the tasks themselves first of all.
// Seal ends the part for which the container must stand still: from then on the
// writer needs nothing of it. Commit then
//
//  1. starts the writeback of all files, so that the disk is busy at once,
//  2. computes the digests of the page and member files, in parallel, and fsyncs large
//     ones beside it,
//  3. closes image.rt with the list of members, the index and the digest,
//  4. fsyncs all files and the directory in parallel, which a journaling
//     filesystem answers with one commit of its journal,
//  5. renames DIR.partial to DIR, or exchanges the two if DIR is an older image,
//     and fsyncs the parent directory.
//
// An older image is removed by Abort, when the caller has nothing urgent left.
//
// A small image (40 records, 200 KB of pages) takes 0.5 ms until Seal and 1 ms for
// the Commit on an ext4 whose fsync takes 0.6 ms.
//
// So DIR is at any moment either absent, the old image or the new one, whole and
// on stable storage, and a writer that dies leaves a DIR.partial that the next
// one removes and that no reader takes for an image.
//
// # Reading
//
// Open reads image.rt once and checks everything in it: version, the sum of each
// record, the index, the digest, that every object which a record refers to is
// there, and that every extent lies within a file of the image that exists and
// has its size. What Open gives needs no further checks but for the bytes of the
// pages, which Verify reads.
//
// # Streams
//
// WriteTo and Receive carry the same files as one tar stream for pipes and for
// other machines. Receive trusts nothing of it and lands it like a Writer.
//
// CreateStream and OpenStream do without the directories between: the first gives
// a Writer whose Seal sends contents from where they are, the second a Reader whose contents are
// asked for front to back (Contents, Extents, Load) and are good as a whole when Finish
// says so. A restore does not see which of the two it reads from.
//
// A SealedWriter encrypts that stream to age recipients and lands it as an image of one file, image.age,
// which is decrypted (package sealed) on its way to a reader or a directory. Digest is one SHA-256
// for the image in whatever form it is kept.
package image
