// SPDX-License-Identifier: GPL-2.0
#include "heat.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *block, *ascii;
	const char *color; /* from cold to hot, on dark and light ground */
	const char *html;
	const char *legend;
} heats[HEATS] = {
	[HEAT_NONE] = { " ", " ", "", "#ffffff", NULL },
	[HEAT_COLD] = { "·", ".", "\033[38;5;244m", "#e4e8ee", "none" },
	[HEAT_SOME] = { "░", ":", "\033[38;5;39m", "#8ec5e8", "some" },
	[HEAT_MANY] = { "▒", "+", "\033[38;5;178m", "#e3c04b", "1/4" },
	[HEAT_MOST] = { "▓", "x", "\033[38;5;208m", "#ee8434", "1/2" },
	[HEAT_FULL] = { "█", "#", "\033[38;5;196m", "#d6302f", "3/4" },
};

#define COLOR_OFF "\033[0m"

enum heat heat_of(uint64_t hot, uint64_t there)
{
	if (!there)
		return HEAT_NONE;
	if (!hot)
		return HEAT_COLD;
	if (hot * 4 < there)
		return HEAT_SOME;
	if (hot * 4 < there * 2)
		return HEAT_MANY;
	return hot * 4 < there * 3 ? HEAT_MOST : HEAT_FULL;
}

void heat_print(FILE *out, const struct heat_style *style, const uint8_t *cell,
		unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		if (style->color && (!i || cell[i] != cell[i - 1]))
			fputs(heats[cell[i]].color, out);
		fputs(style->ascii ? heats[cell[i]].ascii :
				     heats[cell[i]].block,
		      out);
	}
	if (style->color)
		fputs(COLOR_OFF, out);
}

void heat_print_legend(FILE *out, const struct heat_style *style)
{
	fputs("share of touched pages:", out);
	for (uint8_t i = HEAT_COLD; i < HEATS; i++) {
		fputs(" ", out);
		heat_print(out, style, &i, 1);
		fprintf(out, " %s%s", heats[i].legend,
			i > HEAT_SOME ? " or more" : "");
	}
	fputc('\n', out);
}

const char *heat_html_color(enum heat heat)
{
	return heats[heat].html;
}

/* As locale(7) has it: the first of them that is set counts. */
static bool speaks_utf8(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	for (int i = 0; i < 3; i++) {
		const char *value = getenv(names[i]);

		if (value && *value)
			return strstr(value, "UTF-8") ||
			       strstr(value, "utf8") || strstr(value, "UTF8");
	}
	return false;
}

struct heat_style heat_guess_style(void)
{
	const char *term = getenv("TERM");

	return (struct heat_style){
		.color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && term &&
			 strcmp(term, "dumb"),
		.ascii = !speaks_utf8(),
	};
}

const char *format_size(char *text, uint64_t bytes)
{
	static const char units[] = "KMGTPE";
	double value = bytes / 1024.0;
	int unit = 0;

	while (value >= 999.5 && units[unit + 1]) {
		value /= 1024;
		unit++;
	}
	if (!bytes)
		strcpy(text, "0");
	else
		snprintf(text, 16, value < 99.95 ? "%.1f%c" : "%.0f%c", value,
			 units[unit]);
	return text;
}
