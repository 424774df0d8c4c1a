/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * librwp: find out which memory of a process is cold, and move it out without
 * losing a byte, with the read-write protection (RWP) of userfaultfd.
 *
 * All of the interface is in this one file, to be read from the top. Conventions,
 * for every call below:
 *
 * - A call that can fail returns 0 (or a count) or a negative errno value. The
 *   last argument, @err, may be NULL; otherwise a failed call stores the same
 *   value in it and one line of text that names the object. A successful call
 *   does not touch it. One `struct rwp_error` serves one thread at a time.
 * - Addresses are those of the tracked process. Addresses and lengths are in
 *   bytes, and multiples of the page size where nothing else is said. Times are
 *   nanoseconds of CLOCK_MONOTONIC.
 * - A handle belongs to who made it and is released with the call named at its
 *   declaration, which accepts NULL. "Shared" at a handle means that several
 *   threads may use it at once; "one thread" means that the caller has to take
 *   turns. No handle may be in use by another thread while it is released.
 * - An options structure is to be zeroed before its members are set: zero means
 *   the default, and later versions add members at the end under a new symbol
 *   version.
 * - Descriptors are close-on-exec. The library prints nothing, never ends the
 *   program, installs no signal handler and has no global state.
 */
#ifndef RWP_H
#define RWP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RWP_VERSION "0.1.0"

/* The version of the library that is linked in, in the form of RWP_VERSION. */
const char *rwp_version(void);

/* ---- Errors ------------------------------------------------------------ */

struct rwp_error {
	int code; /* negative errno */
	char text[240]; /* one line, no newline, always terminated */
};

/* ---- Ranges ------------------------------------------------------------ */

struct rwp_range {
	uint64_t start;
	uint64_t len;
};

/* ---- What the kernel offers -------------------------------------------- */

struct rwp_probe {
	/*
	 * Bits as UFFDIO_API reports them: UFFD_FEATURE_* and 1 << _UFFDIO_*.
	 * Both are 0 where no userfaultfd can be created.
	 */
	uint64_t features;
	uint64_t ioctls;
	uint64_t range_ioctls; /* of an anonymous range registered for RWP */
	uint32_t page_size;

	/* How this process may create a userfaultfd. */
	bool device; /* through /dev/userfaultfd */
	bool syscall; /* by the system call, faults of the kernel included */
	bool user_mode_only; /* by the system call, faults of user space only */
	int sysctl; /* vm.unprivileged_userfaultfd; -1: unreadable */

	/* What the library needs to work as a whole. */
	bool rwp; /* arm and resolve, sync */
	bool rwp_async; /* the kernel resolves */
	bool set_mode; /* move between the two */
	bool scan; /* PAGEMAP_SCAN with PAGE_IS_ACCESSED */
	bool maps_query; /* PROCMAP_QUERY, for the mappings of a process */
	bool pidfd_getfd; /* to attach to another process */
	bool move; /* UFFDIO_MOVE, to evict anonymous memory */
	bool minor_shmem; /* minor faults, to evict shared memory */

	/* Why no userfaultfd could be created; 0: one was. */
	int create_error;
	char release[65]; /* uname -r */
};

/*
 * Fill @probe by trying. Missing features are not an error: -EMFILE, -ENFILE
 * and -ENOMEM are, since what was found then says nothing about the kernel.
 */
int rwp_probe(struct rwp_probe *probe, struct rwp_error *err);

/* ---- A userfaultfd ----------------------------------------------------- */

/* One userfaultfd and the process it belongs to. Shared. rwp_close(). */
struct rwp;

enum {
	/*
	 * Start synchronous: an access to an armed page waits for an answer.
	 * The default is asynchronous: the kernel lets it through.
	 */
	RWP_OPEN_SYNC = 1 << 0,
	/* Ask for missing and minor faults too, for an evictor. */
	RWP_OPEN_EVICT = 1 << 1,
	/* Ask for UFFD_EVENT_REMOVE and _UNMAP; somebody then has to read them. */
	RWP_OPEN_EVENTS = 1 << 2,
	/*
	 * rwp_attach(): a target under a seccomp filter. The filter is suspended
	 * for the one thread and the few microseconds of the calls made in it
	 * (PTRACE_O_SUSPEND_SECCOMP). Needs CAP_SYS_ADMIN and a kernel with
	 * CONFIG_CHECKPOINT_RESTORE. Without it such targets are refused.
	 */
	RWP_OPEN_SUSPEND_SECCOMP = 1 << 3,
};

/*
 * Create a userfaultfd for the calling process, and ask the kernel for RWP.
 * -EOPNOTSUPP: this kernel has no RWP. -EPERM: not allowed to create one.
 */
int rwp_open(unsigned int flags, struct rwp **out, struct rwp_error *err);

/*
 * Use descriptor @fd, received over a socket, which belongs to process @pid.
 * UFFDIO_API may have been called on it: @features then are those it was called
 * with. Pass 0 to have them looked up, or it called here if it was not. The handle owns @fd from then on; on
 * failure it stays with the caller. -EOPNOTSUPP: @features lack RWP.
 * Take @pid from the socket (SO_PEERCRED), not from the peer's message.
 */
int rwp_adopt(int fd, pid_t pid, uint64_t features, unsigned int flags,
	      struct rwp **out, struct rwp_error *err);

/*
 * Attach to running process @pid, which knows nothing of it: the userfaultfd is
 * created inside, by one thread that is stopped for that, and fetched. Blocks
 * for at most 10 s, usually less than 10 ms. The process is left as it was: not
 * traced, not stopped, with the descriptors it had. librwp(3) says what remains.
 *
 * -ESRCH: no such process, a zombie, or it ended meanwhile.
 * -EPERM: no permission, or a seccomp filter is in the way (see flags).
 * -EBUSY: it is being traced already. -EINVAL: a kernel thread.
 * -ENOEXEC: a 32-bit process or another architecture.
 * -ETIMEDOUT: no thread could be stopped; they wait in the kernel.
 * -EOPNOTSUPP: this kernel has no RWP.
 */
int rwp_attach(pid_t pid, unsigned int flags, struct rwp **out,
	       struct rwp_error *err);

/*
 * Close the descriptor. The kernel makes every armed page accessible again and
 * releases every thread that waits, just as it does when the process ends.
 */
void rwp_close(struct rwp *rwp);

/* Close nothing and give the descriptor to the caller; releases the handle. */
int rwp_release(struct rwp *rwp);

/* The descriptor, to poll and read; it stays the handle's. Non-blocking. */
int rwp_fd(const struct rwp *rwp);

/*
 * A pidfd of the process, readable by poll() when it ends; it stays the
 * handle's. -1 for a process that is seen through a descriptor alone.
 */
int rwp_pidfd(const struct rwp *rwp);

/* The process, as it was named when the handle was made. */
pid_t rwp_pid(const struct rwp *rwp);

/* The features of UFFDIO_API that are on. RWP_ASYNC follows rwp_set_mode(). */
uint64_t rwp_features(const struct rwp *rwp);

/*
 * Whether the userfaultfd sees faults of user space only (UFFD_USER_MODE_ONLY),
 * because its process may not have more. Tracking is not affected. In sync mode
 * a system call that meets an armed page fails with EFAULT. An adopted
 * descriptor does not tell: false.
 */
bool rwp_user_mode_only(const struct rwp *rwp);

/* ---- Registering and arming -------------------------------------------- */

enum {
	RWP_REGISTER_MISSING = 1 << 0, /* faults where nothing is */
	RWP_REGISTER_MINOR = 1 << 1, /* where the page cache has a page */
};

/*
 * Register @range for RWP, and for what @flags adds. Nothing is armed yet.
 * -EINVAL: a mapping that cannot have it: files other than shmem and
 * hugetlbfs, or without access permission. -EBUSY: registered by another
 * userfaultfd. -ENOENT: nothing is mapped there.
 */
int rwp_register(struct rwp *rwp, struct rwp_range range, unsigned int flags,
		 struct rwp_error *err);

/* Undo that; armed pages become accessible and who waits is released. */
int rwp_unregister(struct rwp *rwp, struct rwp_range range,
		   struct rwp_error *err);

/*
 * Make the populated pages of @range inaccessible. -ENOENT: a mapping in it is
 * not registered here, nothing was changed. -EINVAL: part of a hugetlb page.
 * -EAGAIN: an event has to be read first. -ESRCH: the process is gone.
 */
int rwp_arm(struct rwp *rwp, struct rwp_range range, struct rwp_error *err);

/* Make them accessible, and wake the threads that wait for them. */
int rwp_resolve(struct rwp *rwp, struct rwp_range range, struct rwp_error *err);

enum rwp_mode {
	RWP_SYNC, /* an access to an armed page waits, a message is sent */
	RWP_ASYNC, /* the kernel lets it through and remembers it */
};

/*
 * Move to @mode. When the call returns no fault is being handled under the old
 * one any more. RWP_ASYNC releases the threads that wait for armed pages. An
 * answer to a message that was read before is never to be sent after: it would
 * undo later protection.
 */
int rwp_set_mode(struct rwp *rwp, enum rwp_mode mode, struct rwp_error *err);

/* ---- Filling and waking, for evictors and fault servers ---------------- */

enum {
	RWP_FILL_DONTWAKE = 1 << 0,
};

/*
 * Put a copy of @data at an address where nothing is, and wake who waits. The
 * page is accessible. -EEXIST: there is a page already; -ENOENT: no mapping;
 * -EAGAIN: the layout is changing, read the events first.
 * Returns the number of bytes filled, which may be less than @range.len.
 */
ssize_t rwp_copy(struct rwp *rwp, struct rwp_range range, const void *data,
		 unsigned int flags, struct rwp_error *err);

/* The same with zeros. Not for hugetlb (-EINVAL). */
ssize_t rwp_zero(struct rwp *rwp, struct rwp_range range, unsigned int flags,
		 struct rwp_error *err);

/* Map what the page cache has: the answer to a minor fault. */
ssize_t rwp_continue(struct rwp *rwp, struct rwp_range range,
		     unsigned int flags, struct rwp_error *err);

/*
 * Move pages from @src to @dst, both in the process the userfaultfd belongs to
 * and @dst registered for missing faults. Returns the bytes moved.
 */
ssize_t rwp_move(struct rwp *rwp, uint64_t dst, uint64_t src, uint64_t len,
		 struct rwp_error *err);

/* Wake the threads that wait in @range; they try again. */
int rwp_wake(struct rwp *rwp, struct rwp_range range, struct rwp_error *err);

enum rwp_event_kind {
	RWP_EVENT_MISSING,
	RWP_EVENT_MINOR,
	RWP_EVENT_RWP,
	RWP_EVENT_REMOVE, /* madvise() dropped the range */
	RWP_EVENT_UNMAP,
	RWP_EVENT_OTHER, /* one that was not asked for here */
};

struct rwp_event {
	enum rwp_event_kind kind;
	bool write; /* a fault: whether it was a write */
	uint32_t tid; /* a fault: the thread, 0 when not known */
	struct rwp_range range; /* of a fault: the address, and len 0 */
};

/*
 * Read up to @max waiting messages. Returns how many, 0 when none waits.
 */
int rwp_read_events(struct rwp *rwp, struct rwp_event *event, unsigned int max,
		    struct rwp_error *err);

/* ---- Mappings of a process --------------------------------------------- */

enum rwp_kind {
	RWP_KIND_ANON, /* private, no file */
	RWP_KIND_SHMEM, /* memfd, tmpfs, System V, shared anonymous */
	RWP_KIND_HUGETLB,
	RWP_KIND_FILE, /* another file: cannot be tracked */
	RWP_KIND_SPECIAL, /* [vdso] and its like: cannot be tracked */
};

/* A word for it: "anon", "shmem", "hugetlb", "file", "special". */
const char *rwp_kind_name(enum rwp_kind kind);

struct rwp_mapping {
	struct rwp_range range;
	uint64_t offset; /* in the file, bytes */
	uint64_t inode; /* 0: no file */
	uint32_t dev_major, dev_minor;
	uint32_t page_size; /* of the mapping: larger for hugetlb */
	enum rwp_kind kind; /* SHMEM by its name or file system */
	bool readable, writable, executable, shared;
	char name[256]; /* path or [name], cut short; "" for none */
};

/*
 * Called for each mapping, by rising address. Returns 0 to go on; any other
 * value ends the walk and is what rwp_mappings() returns.
 */
typedef int rwp_mapping_fn(const struct rwp_mapping *mapping, void *arg);

/*
 * Walk the mappings of process @pid (PROCMAP_QUERY; needs Linux 6.11). Not a
 * snapshot: each mapping is right at the moment it is passed. The permission is
 * that of ptrace reading. -ESRCH: gone. -EOPNOTSUPP: the kernel is older.
 */
int rwp_mappings(pid_t pid, rwp_mapping_fn *fn, void *arg,
		 struct rwp_error *err);

/* ---- Scanning ---------------------------------------------------------- */

enum {
	RWP_PAGE_ACCESSED = 1 << 0, /* touched since it was armed */
	RWP_PAGE_PRESENT = 1 << 1,
	RWP_PAGE_SWAPPED = 1 << 2, /* swapped out, or evicted while armed */
	RWP_PAGE_HUGE = 1 << 3, /* mapped by a huge entry */
	RWP_PAGE_FILE = 1 << 4, /* belongs to a file or to shmem */
};

/* Neighbouring pages that are alike. */
struct rwp_run {
	struct rwp_range range;
	unsigned int state; /* RWP_PAGE_* */
};

/* Returns 0 to go on; any other value ends the scan and is its result. */
typedef int rwp_run_fn(const struct rwp_run *run, void *arg);

/*
 * Pass on the pages of @range for which one of the bits @any, which must not be
 * 0, is set, in runs by rising address. No memory is allocated. Addresses with nothing behind them
 * have no bit set and are never passed. What the kernel reclaims of shared
 * memory after an access is such an address too: neither hot nor cold.
 */
int rwp_scan(struct rwp *rwp, struct rwp_range range, unsigned int any,
	     rwp_run_fn *fn, void *arg, struct rwp_error *err);

/* ---- Tracker ----------------------------------------------------------- */

/*
 * Keeps the age of every page of some ranges, one byte a page. One thread;
 * rwp_tracker_free(). It uses its `struct rwp`, which has to outlive it, in
 * async mode only: it can delay nobody and lose nothing.
 *
 * An age counts the updates since the page was last seen accessed: 0 in the
 * last window, 1 in the one before, and so on up to RWP_AGE_MAX, where it stays.
 */
struct rwp_tracker;

#define RWP_AGE_MAX 254 /* this old or older */
#define RWP_AGE_NONE 255 /* nothing is there */

/* A mapping that is tracked. The pointers last until the next call. */
struct rwp_tracked {
	struct rwp_mapping mapping;
	const uint8_t *age; /* one for each 4 KiB (system page) of the range */
	uint64_t pages; /* of the system's page size: range.len / page size */
	uint64_t populated; /* those that are there, present or swapped */
	uint64_t accessed; /* those with age 0 */
	uint64_t windows; /* updates since it was added */
};

/* Which mappings to track; the zeroed structure means all that can be. */
struct rwp_filter {
	uint64_t min_size; /* bytes; smaller mappings are left alone */
	uint64_t max_size; /* 0: no limit */
	unsigned int kinds; /* 1 << RWP_KIND_*; 0: all */
};

struct rwp_tracker_stats {
	uint64_t window_ns; /* measured: from update to update */
	uint64_t update_ns; /* how long the update took, of that window */
	uint64_t pages, populated, accessed; /* sums over the mappings */
	uint64_t memory; /* bytes the tracker holds for the ages */
	unsigned int mappings; /* tracked */
	unsigned int added, removed; /* by the last refresh */
	unsigned int refused; /* that cannot be tracked, by the last refresh */
};

int rwp_tracker_new(struct rwp *rwp, const struct rwp_filter *filter,
		    struct rwp_tracker **out, struct rwp_error *err);

/*
 * Unregisters what the tracker registered: the process runs at full speed. A
 * process that is gone is no obstacle.
 */
void rwp_tracker_free(struct rwp_tracker *tracker);

/*
 * Follow the process: register and arm mappings that are new, forget those that
 * are gone, and keep the ages of those that grew or shrank. Without the call
 * the set of mappings stays as it is.
 */
int rwp_tracker_refresh(struct rwp_tracker *tracker, struct rwp_error *err);

/*
 * Track @range in place of rwp_tracker_refresh(). The range has to be registered
 * already, by rwp_register(), and stays so when the tracker is freed.
 */
int rwp_tracker_add(struct rwp_tracker *tracker, struct rwp_range range,
		    struct rwp_error *err);

/*
 * End a window and begin the next: read which pages were accessed, count the
 * ages, arm what was accessed again. Only what was reported is armed, so an
 * access at any moment falls into this window or the next, never between.
 * -ESRCH: the process is gone.
 */
int rwp_tracker_update(struct rwp_tracker *tracker, struct rwp_error *err);

/* The mappings, by rising address; @index from 0. NULL after the last. */
const struct rwp_tracked *rwp_tracker_get(struct rwp_tracker *tracker,
					  unsigned int index);

/* How many pages have each age; @count has 256 members and is overwritten. */
void rwp_tracker_histogram(const struct rwp_tracker *tracker, uint64_t *count);

void rwp_tracker_stats(const struct rwp_tracker *tracker,
		       struct rwp_tracker_stats *stats);

/* ---- Store ------------------------------------------------------------- */

/*
 * A file that holds evicted pages, and beside it its index, PATH.index. Shared;
 * rwp_store_close(). Memory: 9 MiB, 36 bytes for each 2 MiB of pages held and a
 * bit for each 512 bytes of the file.
 */
struct rwp_store;

enum {
	RWP_STORE_BUFFERED = 1 << 0, /* no O_DIRECT, even where it works */
	RWP_STORE_NO_LZ4 = 1 << 1,
	RWP_STORE_READ_ONLY = 1 << 2,
};

struct rwp_store_options {
	uint64_t max_bytes; /* of the file; 0: as much as the disk has */
	unsigned int depth; /* requests in flight; 0: 64 */
	unsigned int flags; /* RWP_STORE_* */
};

/*
 * Which page: a space the caller numbers, and the byte offset in it, a multiple
 * of the page's length. The pages of a space do not overlap.
 */
struct rwp_store_key {
	uint64_t space;
	uint64_t offset;
};

/* One page to save or to fetch. */
struct rwp_store_page {
	struct rwp_store_key key;
	void *data; /* @len bytes, any alignment */
	uint32_t len; /* 4 KiB to 1 GiB, a power of two */
	int result; /* out: 0 or a negative errno */
};

struct rwp_store_stats {
	uint64_t pages; /* held */
	uint64_t bytes; /* of memory they stand for */
	uint64_t file_bytes; /* taken in the file */
	/* How they are kept: in pieces of 64 KiB, or whole if smaller. */
	uint64_t same, compressed, plain;
	uint64_t saved, fetched; /* pages, since it was opened */
	uint64_t bad_checksums;
};

/*
 * Open or create the store at @path, mode 0600. What an earlier process left
 * there, however it ended, can be fetched; if its last writes have not ended yet
 * the call waits for them, for at most 3 s. -EBUSY: another process has it open.
 * -EBADMSG: not a store, or a damaged one. A page whose data or record alone is
 * damaged does not prevent it: fetching that page does fail.
 */
int rwp_store_open(const char *path, const struct rwp_store_options *options,
		   struct rwp_store **out, struct rwp_error *err);
void rwp_store_close(struct rwp_store *store);

/*
 * Save or fetch @count pages, many at once. Returns 0 when all went well, else
 * the error of the first that failed; each page has its own result. A page is
 * safe against the death of the process when the call returns, against a power
 * cut after rwp_store_sync(). The pages of one call are all different.
 * Saving: a page that is held is replaced; one above 64 KiB that fails is not
 * held any more. -ENOSPC: full; what is held is not touched. -EEXIST: inside a
 * larger page. Fetching: -ENOENT: not held with this length, -EBADMSG: its
 * checksum is wrong, the data is not to be used.
 * One call can save while another fetches; two that save take turns.
 */
int rwp_store_save(struct rwp_store *store, struct rwp_store_page *page,
		   unsigned int count, struct rwp_error *err);
int rwp_store_fetch(struct rwp_store *store, struct rwp_store_page *page,
		    unsigned int count, struct rwp_error *err);

/* Whether @key is held, be it damaged; 0 or -ENOENT. */
int rwp_store_has(struct rwp_store *store, struct rwp_store_key key);

/* Forget @key; its place in the file is used again. -ENOENT: not held. */
int rwp_store_drop(struct rwp_store *store, struct rwp_store_key key,
		   struct rwp_error *err);

/* Forget all of @space below @end: of a process that has ended, say. */
int rwp_store_drop_below(struct rwp_store *store, uint64_t space, uint64_t end,
			 struct rwp_error *err);

int rwp_store_sync(struct rwp_store *store, struct rwp_error *err);
void rwp_store_stats(struct rwp_store *store, struct rwp_store_stats *stats);

/* ---- Evictor ----------------------------------------------------------- */

/*
 * Moves cold pages into a store, and serves who wants them back. Shared: one
 * thread evicts while others answer faults. rwp_evictor_free().
 *
 * A call that evicts or brings back much has two threads more and buffers of
 * about 8 MiB until it returns; all signals are blocked in these threads.
 */
struct rwp_evictor;

/* Memory that can be evicted. */
struct rwp_memory {
	struct rwp_range range;
	/*
	 * What is evicted and fetched as a whole, and counted as a page below:
	 * 0 for the page size of the mapping, or a larger power of two to have
	 * transparent huge pages go whole or not at all.
	 */
	uint32_t page_size;
	/*
	 * Shared memory: the file behind @range, which stays the caller's, and
	 * where in it the range begins. fd -1: anonymous memory, which only the
	 * process that owns it can evict.
	 */
	int fd;
	uint64_t offset;
	uint64_t space; /* the key of its pages in the store */
};

struct rwp_evictor_options {
	uint64_t bytes_per_second; /* of eviction; 0: no limit */
	unsigned int batch; /* pages between two switches of the mode; 0: 2048, or 512 if anonymous */
	bool dry_run; /* count only, move nothing */
};

struct rwp_evict_stats {
	uint64_t asked, evicted, touched, failed; /* pages */
	uint64_t served_missing, served_minor, served_rwp; /* faults */
	uint64_t sync_ns, sync_max_ns; /* time spent in sync mode */
	int last_error; /* why a page failed, negative errno; 0: none did */
};

/*
 * @rwp (opened with RWP_OPEN_EVICT) and @store have to outlive the evictor. Puts
 * the userfaultfd into async mode. Freeing it unregisters nothing, since then
 * what is in the store would read as zeros: restore first, or keep the
 * descriptor and the store for the next evictor.
 */
int rwp_evictor_new(struct rwp *rwp, struct rwp_store *store,
		    const struct rwp_evictor_options *options,
		    struct rwp_evictor **out, struct rwp_error *err);
void rwp_evictor_free(struct rwp_evictor *evictor);

/*
 * Register @memory and take it in, with what an earlier process has evicted of
 * it; who waits for that process is woken. The file may have no other writers
 * than the mapping: those (vhost-user, DMA into pinned pages) go unseen.
 * -EEXIST: overlaps memory it has. -EINVAL: not what is mapped there, or no
 * whole pages. -ENOENT: has gaps. -EOPNOTSUPP: anonymous, of another process.
 */
int rwp_evictor_add(struct rwp_evictor *evictor,
		    const struct rwp_memory *memory, struct rwp_error *err);

/*
 * Evict those pages of @range that are armed still when it is their turn; ranges
 * by rising address take fewer switches of the mode than others. A page
 * that is touched at any moment of that is served with its content of that
 * moment. Returns the number of pages evicted. -ENOSPC: the store is full; what
 * did not fit stays in memory, what was evicted before is in the statistics.
 */
int64_t rwp_evict(struct rwp_evictor *evictor, const struct rwp_range *range,
		  unsigned int count, struct rwp_error *err);

/*
 * Answer what waits on rwp_fd(), at most @max messages; returns how many. Where
 * nothing was evicted zeros are filled in. A page whose copy is damaged is
 * poisoned: who touches it gets SIGBUS. RWP_EVENT_REMOVE: anonymous pages are
 * forgotten; of shared memory it does not tell whether the content is to go, so
 * what was evicted is kept, and comes back as it was.
 */
int rwp_evictor_serve(struct rwp_evictor *evictor, unsigned int max,
		      struct rwp_error *err);

/*
 * Bring every page back. @progress, which may be NULL, is called now and then
 * with the bytes brought back and those left; nonzero stops, as -ECANCELED.
 */
int rwp_evictor_restore(struct rwp_evictor *evictor,
			int (*progress)(uint64_t done, uint64_t left,
					void *arg),
			void *arg, struct rwp_error *err);

void rwp_evictor_stats(struct rwp_evictor *evictor,
		       struct rwp_evict_stats *stats);

/* ---- Fault server ------------------------------------------------------ */

/* A thread that serves the faults of evictors. Shared; rwp_server_free(). */
struct rwp_server;

int rwp_server_new(struct rwp_server **out, struct rwp_error *err);

/* Ends the thread. Evictors that are left have to be restored before. */
void rwp_server_free(struct rwp_server *server);

/*
 * Serve @evictor until it is removed. @gone, which may be NULL and may call
 * rwp_server_remove(), is called on the server's thread once its process has
 * ended, or with the error that stopped it.
 */
int rwp_server_add(struct rwp_server *server, struct rwp_evictor *evictor,
		   void (*gone)(struct rwp_evictor *evictor, int error,
				void *arg),
		   void *arg, struct rwp_error *err);
int rwp_server_remove(struct rwp_server *server, struct rwp_evictor *evictor,
		      struct rwp_error *err);

/* ---- Taking machines over a socket ------------------------------------- */

/* A region as the monitor describes it. */
struct rwp_handoff_region {
	uint64_t start; /* in the monitor's address space */
	uint64_t size;
	uint64_t offset; /* in the memory file */
	uint64_t page_size; /* bytes */
};

/* A machine that was handed over; rwp_handoff_free(). One thread. */
struct rwp_handoff {
	pid_t pid; /* from SO_PEERCRED */
	uid_t uid;
	unsigned int regions, fds;
	struct rwp_handoff_region *region;
	int *fd; /* [0] is the userfaultfd; owned, set to -1 what you take */
	char *text; /* the message, @text_len bytes, not terminated */
	size_t text_len;
};

/*
 * Parse @len bytes of text as Firecracker and its dialects write it: an array
 * of regions, or an object with the key "regions". On success *@region, which
 * is to be released with free(), holds the returned number of them. -EAGAIN:
 * the text is not complete yet. -EBADMSG: it is not that. -EINVAL: a region
 * that is empty, unaligned, overflows or overlaps another.
 */
int rwp_handoff_parse(const char *text, size_t len,
		      struct rwp_handoff_region **region,
		      struct rwp_error *err);

/*
 * Receive one machine from connected socket @sock, which stays the caller's, in
 * at most @timeout_ms. -ETIMEDOUT: it did not come. -EBADMSG and -EINVAL: what
 * came is none. -EPERM: the peer's process cannot be seen from here. Nothing of
 * what was sent is trusted; whether the peer is, tell by @uid.
 */
int rwp_handoff_receive(int sock, unsigned int timeout_ms,
			struct rwp_handoff **out, struct rwp_error *err);

/*
 * For descriptors that came another way: exactly one is a userfaultfd, which is
 * put first, and the others are files. -EINVAL: not so.
 */
int rwp_handoff_check(struct rwp_handoff *handoff, struct rwp_error *err);
void rwp_handoff_free(struct rwp_handoff *handoff);

#ifdef __cplusplus
}
#endif

#endif
