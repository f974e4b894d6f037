# The way in for loaders that start the kernel in 32-bit protected mode: Multiboot2 and PVH.
#
# Builds 4-level tables (identity and direct map of the first 4 GiB, or of 512 GiB where the CPU has
# 1 GiB pages, and the kernel's top 2 GiB), enters long mode and jumps to `handover_main(magic, info)` in
# the high half. Link-time addresses become physical ones by adding 0x80000000 (modulo 2^64).

.set PHYS, 0x80000000

# --- Multiboot2 header -------------------------------------------------------------------------------
.section .multiboot2, "a"
.balign 8
mb2_start:
    .long 0xe85250d6                                    # magic
    .long 0                                             # i386 protected mode
    .long mb2_end - mb2_start
    .long -(0xe85250d6 + 0 + (mb2_end - mb2_start))     # checksum
    .balign 8                                           # entry address
    .short 3, 0
    .long 12
    .long entry32 + PHYS
    .balign 8                                           # framebuffer, optional, any size, 32 bits deep
    .short 5, 1
    .long 20
    .long 0, 0, 32
    .balign 8                                           # modules on page boundaries
    .short 6, 0
    .long 8
    .balign 8                                           # end
    .short 0, 0
    .long 8
mb2_end:

# --- PVH note ----------------------------------------------------------------------------------------
.section .note.pvh, "a", @note
.balign 4
    .long 4, 4, 18                                      # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long entry32 + PHYS

# --- Entry -------------------------------------------------------------------------------------------
.section .boot.text, "ax"
.code32
entry32:
    cli
    cld
    movl $(boot_stack_top + PHYS), %esp
    pushl %eax                                          # magic (PVH leaves it undefined)
    pushl %ebx                                          # information
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    testl $(1 << 29), %edx
    jz no_long_mode
    movl %edx, %ebp                                     # bit 20: NX, bit 26: 1 GiB pages

    # PML4: 0 and 256 -> low, 511 -> high.
    movl $(boot_pdpt_low + PHYS + 3), %eax
    movl %eax, boot_pml4 + PHYS
    movl %eax, boot_pml4 + PHYS + 256 * 8
    movl $(boot_pdpt_high + PHYS + 3), boot_pml4 + PHYS + 511 * 8
    # The top 2 GiB are the first 2 GiB of memory.
    movl $(boot_pd + PHYS + 3), boot_pdpt_high + PHYS + 510 * 8
    movl $(boot_pd + PHYS + 4096 + 3), boot_pdpt_high + PHYS + 511 * 8
    # Four directories of 2 MiB pages.
    movl $(boot_pd + PHYS), %edi
    movl $0x83, %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b

    movl $(boot_pdpt_low + PHYS), %edi
    testl $(1 << 26), %ebp
    jnz 3f
    movl $(boot_pd + PHYS + 3), %eax
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 2b
    jmp 5f
3:  movl $0x83, %eax                                    # 512 pages of 1 GiB
    xorl %edx, %edx
    movl $512, %ecx
4:  movl %eax, (%edi)
    movl %edx, 4(%edi)
    addl $0x40000000, %eax
    adcl $0, %edx
    addl $8, %edi
    loop 4b
5:
    movl $(boot_pml4 + PHYS), %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax                                     # PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx                              # EFER: LME, and NXE where there is NX
    rdmsr
    orl $0x100, %eax
    testl $(1 << 20), %ebp
    jz 6f
    orl $0x800, %eax
6:  wrmsr
    movl %cr0, %eax
    orl $0x80010001, %eax                               # PG, WP, PE
    movl %eax, %cr0
    popl %esi
    popl %edi
    lgdt boot_gdt_pointer + PHYS
    ljmp $0x10, $(entry64 + PHYS)

no_long_mode:
    movl $(no_long_mode_text + PHYS), %esi
    movl $0xb8000, %edi
1:  lodsb
    testb %al, %al
    jz 3f
    movb %al, (%edi)
    movb $0x4f, 1(%edi)
    addl $2, %edi
    movb %al, %bl
    movl $0x3fd, %edx
    movl $10000, %ecx
2:  inb %dx, %al                                        # bounded: there may be no serial port
    testb $0x20, %al
    loopz 2b
    movl $0x3f8, %edx
    movb %bl, %al
    outb %al, %dx
    jmp 1b
3:  hlt
    jmp 3b
no_long_mode_text:
    .asciz "Ironbark needs a 64-bit processor (long mode). Halted."

.code64
entry64:
    movabsq $1f, %rax
    jmp *%rax
1:  movabsq $boot_stack_top, %rsp
    lgdt boot_gdt_pointer_high(%rip)
    movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    xorl %ebp, %ebp
    pushq %rbp                                          # ends the backtrace
    pushq %rbp
    movl %edi, %edi
    movl %esi, %esi
    call handover_main
    ud2

# The ELF's entry: Limine, in 64-bit mode on a stack of its own.
.global limine_entry
limine_entry:
    cli
    cld
    leaq boot_stack_top(%rip), %rsp
    xorl %ebp, %ebp
    pushq %rbp
    pushq %rbp
    call limine_main
    ud2

.balign 8
boot_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff                            # 0x08: 32-bit code
    .quad 0x00af9b000000ffff                            # 0x10: 64-bit code
    .quad 0x00cf93000000ffff                            # 0x18: data
boot_gdt_pointer:
    .short 31
    .long boot_gdt + PHYS
    .long 0
boot_gdt_pointer_high:
    .short 31
    .quad boot_gdt

.section .bss.boot, "aw", @nobits
.balign 4096
boot_pml4: .skip 4096
boot_pdpt_low: .skip 4096
boot_pdpt_high: .skip 4096
boot_pd: .skip 4 * 4096
.global boot_stack
boot_stack: .skip 65536
.global boot_stack_top
boot_stack_top:
