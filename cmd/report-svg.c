// SPDX-License-Identifier: GPL-2.0
/* The heat map as a picture. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "report.h"

#define CELL_WIDTH 4
#define CELL_HEIGHT 4
#define LEFT 120
#define TOP 40
#define BOTTOM 60

/* Names come clean, but these three mean something here. */
static void print_escaped(FILE *out, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		default:
			fputc(*text, out);
		}
	}
}

/* Equal neighbours become one rectangle. */
static void print_row(FILE *out, const struct grid *grid, unsigned int row)
{
	unsigned int columns = grid_columns(grid), first = 0;

	for (unsigned int i = 1; i <= columns; i++) {
		enum heat heat = grid_heat(grid, row, first);

		if (i < columns && grid_heat(grid, row, i) == heat)
			continue;
		if (heat != HEAT_NONE)
			fprintf(out,
				"<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"%s\"/>\n",
				LEFT + first * CELL_WIDTH,
				TOP + row * CELL_HEIGHT,
				(i - first) * CELL_WIDTH, CELL_HEIGHT,
				heat_html_color(heat));
		first = i;
	}
}

static void print_legend(FILE *out, unsigned int y)
{
	static const char *const text[HEATS] = {
		[HEAT_COLD] = "none touched", [HEAT_SOME] = "some",
		[HEAT_MANY] = "1/4 or more",  [HEAT_MOST] = "1/2 or more",
		[HEAT_FULL] = "3/4 or more",
	};

	for (unsigned int i = HEAT_COLD; i < HEATS; i++) {
		unsigned int x = LEFT + (i - HEAT_COLD) * 110;

		fprintf(out,
			"<rect x=\"%u\" y=\"%u\" width=\"10\" height=\"10\" fill=\"%s\"/>\n"
			"<text x=\"%u\" y=\"%u\">%s</text>\n",
			x, y, heat_html_color(i), x + 14, y + 9, text[i]);
	}
}

static void print_svg(FILE *out, const struct grid *grid,
		      const struct recording_header *header, double seconds)
{
	unsigned int width = grid_columns(grid) * CELL_WIDTH;
	unsigned int height = grid_rows(grid) * CELL_HEIGHT;
	unsigned int page = LEFT + (width < 560 ? 560 : width) + 20;

	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" font-family=\"sans-serif\" font-size=\"11\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n<text x=\"%u\" y=\"16\" font-size=\"14\">",
		page, TOP + height + BOTTOM, LEFT);
	print_escaped(out, header->name);
	fprintf(out, " (%llu), memory touched over time</text>\n",
		(unsigned long long)header->pid);
	fprintf(out,
		"<text x=\"%u\" y=\"34\">0 s</text>\n<text x=\"%u\" y=\"34\" text-anchor=\"end\">%.1f s</text>\n",
		LEFT, LEFT + width, seconds);
	for (unsigned int row = 0; row < grid_rows(grid); row++) {
		if (row * CELL_HEIGHT % 40 == 0)
			fprintf(out,
				"<text x=\"%u\" y=\"%u\" text-anchor=\"end\">%llx</text>\n",
				LEFT - 6, TOP + row * CELL_HEIGHT + 8,
				(unsigned long long)grid_address(
					grid, row, header->page_size));
		print_row(out, grid, row);
	}
	fprintf(out,
		"<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"none\" stroke=\"#888888\"/>\n",
		LEFT, TOP, width, height);
	print_legend(out, TOP + height + 24);
	fputs("</svg>\n", out);
}

/* As private as the recording it was made of. */
int grid_write_svg(const struct grid *grid, const char *path,
		   const struct recording_header *header, double seconds)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	bool bad;

	if (!out) {
		complain("cannot create %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return EXIT_FAILED;
	}
	print_svg(out, grid, header, seconds);
	bad = ferror(out);
	if (fclose(out) || bad)
		return complain("cannot write %s: %s", path, strerror(errno));
	return EXIT_OK;
}
