/* symbol finds a dynamic symbol of an ELF image that is mapped at base (elf(5)), NULL if there is none of the name. */
#ifndef ELFSYMBOL_H
#define ELFSYMBOL_H
#include "harness.h"
#include <elf.h>

static void *symbol(unsigned long base, const char *want)
{
	Elf64_Ehdr *e = (void *)base;
	Elf64_Phdr *ph = (void *)(base + e->e_phoff);
	Elf64_Dyn *dyn = NULL;
	for (int i = 0; i < e->e_phnum; i++)
		if (ph[i].p_type == PT_DYNAMIC)
			dyn = (void *)(base + ph[i].p_vaddr);
	Elf64_Sym *sym = NULL;
	char *str = NULL;
	for (; dyn && dyn->d_tag; dyn++) {
		if (dyn->d_tag == DT_SYMTAB)
			sym = (void *)(base + dyn->d_un.d_ptr);
		if (dyn->d_tag == DT_STRTAB)
			str = (char *)(base + dyn->d_un.d_ptr);
	}
	for (Elf64_Sym *s = sym; s && str && (char *)s < str; s++) /* the string table follows the symbols */
		if (s->st_value && !strcmp(str + s->st_name, want))
			return (void *)(base + s->st_value);
	return NULL;
}
#endif
