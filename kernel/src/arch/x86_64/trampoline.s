# How another CPU starts: in real mode, at the first of four low pages, to which this is copied. The other three are
# page tables (smp.rs): identity for the lowest 2 MiB, and the kernel's half.

.section .rodata.trampoline, "a"
.balign 16
.global trampoline_start
trampoline_start:
.code16
    cli
    cld
    xorl %ebx, %ebx
    movw %cs, %bx
    movw %bx, %ds
    shll $4, %ebx                       # physical address of this page
    lgdtl trampoline_gdt_pointer - trampoline_start
    movl %cr0, %eax
    andl $0x9fffffff, %eax              # caches on
    orl $1, %eax
    movl %eax, %cr0
    ljmpl *(trampoline_far32 - trampoline_start)
.code32
trampoline_32:
    movw $0x18, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl %cr4, %eax
    orl $0x20, %eax                     # PAE
    movl %eax, %cr4
    leal 0x1000(%ebx), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax                    # LME, and NXE where the boot CPU has it
    orl (trampoline_efer - trampoline_start)(%ebx), %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80010001, %eax
    movl %eax, %cr0
    ljmpl *(trampoline_far64 - trampoline_start)(%ebx)
.code64
trampoline_64:
    movq (trampoline_stack - trampoline_start)(%rbx), %rsp
    movq (trampoline_cr3 - trampoline_start)(%rbx), %rsi
    movq (trampoline_argument - trampoline_start)(%rbx), %rdi
    movq (trampoline_entry - trampoline_start)(%rbx), %rax
    jmp *%rax

.balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
.global trampoline_gdt_pointer
trampoline_gdt_pointer:
    .short 31
    .long trampoline_gdt - trampoline_start         # plus the page, by smp.rs
    .short 0
.global trampoline_far32
trampoline_far32:
    .long trampoline_32 - trampoline_start          # plus the page
    .short 0x08, 0
.global trampoline_far64
trampoline_far64:
    .long trampoline_64 - trampoline_start          # plus the page
    .short 0x10, 0
.global trampoline_data
trampoline_data:
trampoline_stack: .quad 0
trampoline_cr3: .quad 0
trampoline_argument: .quad 0
trampoline_entry: .quad 0
trampoline_efer: .quad 0
.global trampoline_end
trampoline_end:

# In the kernel's half: leave the temporary tables.
.section .entry.text, "ax"
.global ap_entry
ap_entry:
    movq %rsi, %cr3
    xorl %ebp, %ebp
    pushq %rbp
    pushq %rbp
    call ap_main
    ud2
