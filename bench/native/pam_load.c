/*
 * Many logins through libpam by several processes at one instant, each login measured. Every module is a black box:
 * pam_start, pam_authenticate, pam_end, and a conversation that answers each question with the login's code.
 *
 *   pam_load SERVICE WORKERS [fresh | kill=MICROSECONDS]
 *
 * Standard input: one line a login, `WORKER USER CODE`. Workers are processes, because PAM is: each reads nothing
 * more once the gate opens, and runs its own logins in order. With `fresh` each login has a process of its own, as
 * sshd and sudo give it. With `kill` every worker is killed so long after the gate opened.
 *
 * Standard output: `login RESULT NANOSECONDS` for each login in the order of the input (a RESULT of -1 did not end),
 * `worker CPU_NANOSECONDS WRITTEN_BYTES PEAK_KIBIBYTES` for each worker, then `wall NANOSECONDS`.
 *
 * It trusts its standard input, and runs on scratch hosts alone.
 */
#include <errno.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_USER = 33, LONGEST_CODE = 33, MOST_WORKERS = 4096 };

/* One login; lies in memory that all processes share, so that results need no pipe. */
struct login {
	unsigned worker;
	char user[LONGEST_USER];
	char code[LONGEST_CODE];
	int result;
	uint64_t took;
};

struct figures {
	uint64_t cpu;
	uint64_t written;
	uint64_t peak;
};

static void fail(const char *what)
{
	fprintf(stderr, "pam_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *code)
{
	struct pam_response *answers = calloc((size_t)count, sizeof *answers);
	if (answers == NULL)
		return PAM_BUF_ERR;
	for (int i = 0; i < count; i++) {
		int style = messages[i]->msg_style;
		if (style == PAM_PROMPT_ECHO_OFF || style == PAM_PROMPT_ECHO_ON)
			answers[i].resp = strdup(code);
	}
	*responses = answers;
	return PAM_SUCCESS;
}

/* Instead of sleeping after a failure: the delay is the same for all, and not what is measured. */
static void skip_delay(int result, unsigned microseconds, void *data)
{
	(void)result;
	(void)microseconds;
	(void)data;
}

static void run(const char *service, struct login *login)
{
	struct pam_conv conversation = { converse, login->code };
	pam_handle_t *handle = NULL;
	uint64_t begin = now();
	int result = pam_start(service, login->user, &conversation, &handle);
	if (result == PAM_SUCCESS) {
		void (*delay)(int, unsigned, void *) = skip_delay;
		pam_set_item(handle, PAM_FAIL_DELAY, *(void **)&delay);
		result = pam_authenticate(handle, 0);
		pam_end(handle, result);
	}
	login->took = now() - begin;
	login->result = result;
}

static void run_in_a_process(const char *service, struct login *login)
{
	pid_t pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		run(service, login);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static uint64_t cpu(int who)
{
	struct rusage usage;
	getrusage(who, &usage);
	return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
	       ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;
}

/* What this process and those it waited for caused to be written to a disk (proc(5), /proc/pid/io). */
static uint64_t written(void)
{
	char line[128];
	unsigned long long bytes = 0;
	FILE *file = fopen("/proc/self/io", "r");
	if (file == NULL)
		return 0;
	while (fgets(line, sizeof line, file) != NULL)
		sscanf(line, "write_bytes: %llu", &bytes);
	fclose(file);
	return bytes;
}

static void work(const char *service, unsigned self, struct login *logins, size_t count, int fresh, struct figures *figures)
{
	uint64_t cpu_before = cpu(RUSAGE_SELF) + cpu(RUSAGE_CHILDREN);
	uint64_t written_before = written();
	for (size_t i = 0; i < count; i++) {
		if (logins[i].worker != self)
			continue;
		if (fresh)
			run_in_a_process(service, &logins[i]);
		else
			run(service, &logins[i]);
	}
	figures->cpu = cpu(RUSAGE_SELF) + cpu(RUSAGE_CHILDREN) - cpu_before;
	figures->written = written() - written_before;
	struct rusage usage;
	getrusage(fresh ? RUSAGE_CHILDREN : RUSAGE_SELF, &usage);
	figures->peak = (uint64_t)usage.ru_maxrss;
}

static void *shared(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		fail("mmap");
	return memory;
}

/* Reads all logins; the array is shared with the workers. */
static struct login *read_logins(size_t *count)
{
	size_t room = 1u << 20;
	struct login *logins = shared(room * sizeof *logins);
	size_t n = 0;
	while (n < room && scanf("%u %32s %32s", &logins[n].worker, logins[n].user, logins[n].code) == 3) {
		logins[n].result = -1;
		n++;
	}
	*count = n;
	return logins;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	const char *service = argv[1];
	unsigned workers = (unsigned)strtoul(argv[2], NULL, 10);
	int fresh = argc > 3 && strcmp(argv[3], "fresh") == 0;
	long kill_after = argc > 3 && strncmp(argv[3], "kill=", 5) == 0 ? strtol(argv[3] + 5, NULL, 10) : -1;
	if (workers == 0 || workers > MOST_WORKERS)
		return 2;

	size_t count;
	struct login *logins = read_logins(&count);
	struct figures *figures = shared(workers * sizeof *figures);
	int ready[2], gate[2];
	if (pipe(ready) != 0 || pipe(gate) != 0)
		fail("pipe");
	static pid_t pids[MOST_WORKERS];
	for (unsigned i = 0; i < workers; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			fail("fork");
		if (pids[i] > 0)
			continue;
		char byte = 0;
		close(gate[1]);
		if (write(ready[1], &byte, 1) != 1)
			fail("write");
		/* The gate opens when its other end closes. */
		while (read(gate[0], &byte, 1) < 0 && errno == EINTR)
			continue;
		work(service, i, logins, count, fresh, &figures[i]);
		_exit(0);
	}
	for (unsigned i = 0; i < workers; i++) {
		char byte;
		if (read(ready[0], &byte, 1) != 1)
			fail("read");
	}
	uint64_t begin = now();
	close(gate[1]);
	if (kill_after >= 0) {
		while (now() - begin < (uint64_t)kill_after * 1000u)
			continue;
		for (unsigned i = 0; i < workers; i++)
			kill(pids[i], SIGKILL);
	}
	for (unsigned i = 0; i < workers; i++)
		waitpid(pids[i], NULL, 0);
	uint64_t wall = now() - begin;

	for (size_t i = 0; i < count; i++)
		printf("login %d %llu\n", logins[i].result, (unsigned long long)logins[i].took);
	for (unsigned i = 0; i < workers; i++)
		printf("worker %llu %llu %llu\n", (unsigned long long)figures[i].cpu,
		       (unsigned long long)figures[i].written, (unsigned long long)figures[i].peak);
	printf("wall %llu\n", (unsigned long long)wall);
	return 0;
}
