# The vDSO: a shared object of one page, laid out here by hand, so that it needs no second linker run. The kernel maps it
# into every process, with the clock page (vdso.rs: Page) right below it.
#
# Position-independent; uses no stack and no writable data. The version is LINUX_2.6, as C libraries ask for.

.section .vdso, "a"
.balign 4096
vdso_image:
    # ELF header
    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0
    .skip 8, 0
    .short 3, 62                        # shared object, x86-64
    .long 1
    .quad 0
    .quad vdso_phdrs - vdso_image
    .quad 0
    .long 0
    .short 64, 56, 3, 64, 0, 0

vdso_phdrs:
    .long 1, 5                          # PT_LOAD, r-x
    .quad 0, 0, 0
    .quad vdso_end - vdso_image, vdso_end - vdso_image, 4096
    .long 2, 4                          # PT_DYNAMIC
    .quad vdso_dynamic - vdso_image, vdso_dynamic - vdso_image, vdso_dynamic - vdso_image
    .quad vdso_dynamic_end - vdso_dynamic, vdso_dynamic_end - vdso_dynamic, 8
    .long 4, 4                          # PT_NOTE
    .quad vdso_note - vdso_image, vdso_note - vdso_image, vdso_note - vdso_image
    .quad vdso_note_end - vdso_note, vdso_note_end - vdso_note, 4

.balign 8
vdso_hash:                              # one bucket, all symbols in its chain
    .long 1, 6
    .long 1
    .long 0, 2, 3, 4, 5, 0

.macro vdso_symbol name
    .long str_\name - vdso_strings
    .byte 0x12, 0                       # global function
    .short 1
    .quad vdso_\name - vdso_image
    .quad vdso_\name\()_end - vdso_\name
.endm

.balign 8
vdso_symbols:
    .skip 24, 0
    vdso_symbol clock_gettime
    vdso_symbol gettimeofday
    vdso_symbol time
    vdso_symbol getcpu
    vdso_symbol clock_getres

vdso_strings:
    .byte 0
str_clock_gettime: .asciz "__vdso_clock_gettime"
str_gettimeofday: .asciz "__vdso_gettimeofday"
str_time: .asciz "__vdso_time"
str_getcpu: .asciz "__vdso_getcpu"
str_clock_getres: .asciz "__vdso_clock_getres"
str_soname: .asciz "linux-vdso.so.1"
str_version: .asciz "LINUX_2.6"
vdso_strings_end:

.balign 2
vdso_versym:
    .short 0, 2, 2, 2, 2, 2

.balign 8
vdso_verdef:
    .short 1, 1, 1, 1                   # the object itself
    .long 0x0deebfa1                    # hash of the name
    .long 20, 28
    .long str_soname - vdso_strings, 0
    .short 1, 0, 2, 1                   # the version
    .long 0x3ae75f6
    .long 20, 0
    .long str_version - vdso_strings, 0

.balign 8
vdso_dynamic:
    .quad 14, str_soname - vdso_strings             # SONAME
    .quad 4, vdso_hash - vdso_image                 # HASH
    .quad 5, vdso_strings - vdso_image              # STRTAB
    .quad 6, vdso_symbols - vdso_image              # SYMTAB
    .quad 10, vdso_strings_end - vdso_strings       # STRSZ
    .quad 11, 24                                    # SYMENT
    .quad 0x6ffffff0, vdso_versym - vdso_image      # VERSYM
    .quad 0x6ffffffc, vdso_verdef - vdso_image      # VERDEF
    .quad 0x6ffffffd, 2                             # VERDEFNUM
    .quad 0, 0
vdso_dynamic_end:

.balign 4
vdso_note:                              # the version that programs are told they run on
    .long 6, 4, 0
    .asciz "Linux"
    .balign 4
    .long 0x060c00
vdso_note_end:

.set PAGE_SEQUENCE, 0
.set PAGE_BASE, 8
.set PAGE_SCALE, 16
.set PAGE_WALL, 24

# rax = nanoseconds: monotonic, or real if bit edi of ecx is set. Uses rcx, rdx, r8, r9.
.macro read_clock
1:  mov r9d, [rip + vdso_image - 4096 + PAGE_SEQUENCE]
    test r9d, 1
    jnz 3f
    lfence                              # not before the parameters are known to be whole
    rdtsc
    shl rdx, 32
    or rax, rdx
    sub rax, [rip + vdso_image - 4096 + PAGE_BASE]
    mul qword ptr [rip + vdso_image - 4096 + PAGE_SCALE]
    shrd rax, rdx, 32
    bt ecx, edi
    jnc 2f
    add rax, [rip + vdso_image - 4096 + PAGE_WALL]
2:  cmp r9d, [rip + vdso_image - 4096 + PAGE_SEQUENCE]
    jne 1b
    jmp 4f
3:  pause
    jmp 1b
4:
.endm

# rdx = rax / 1000000000, rcx = the remainder.
.macro split_seconds
    mov rcx, rax
    shr rax, 9
    movabs rdx, 0x44b82fa09b5a53
    mul rdx
    shr rdx, 11
    imul rax, rdx, 1000000000
    sub rcx, rax
.endm

.balign 64
vdso_clock_gettime:
    cmp edi, 11
    ja 9f
    mov ecx, 0x8f3                      # real, monotonic, raw, both coarse, boot, TAI
    bt ecx, edi
    jnc 9f
    mov ecx, 0x821                      # those that are real time
    read_clock
    split_seconds
    mov [rsi], rdx
    mov [rsi + 8], rcx
    xor eax, eax
    ret
9:  mov eax, 228
    syscall
    ret
vdso_clock_gettime_end:

.balign 32
vdso_gettimeofday:
    test rsi, rsi                       # a time zone is the kernel's to tell
    jnz 9f
    test rdi, rdi
    jz 8f
    mov r10, rdi
    xor edi, edi
    mov ecx, 1
    read_clock
    split_seconds
    mov [r10], rdx
    mov eax, ecx
    imul rax, rax, 274877907            # / 1000
    shr rax, 38
    mov [r10 + 8], rax
8:  xor eax, eax
    ret
9:  mov eax, 96
    syscall
    ret
vdso_gettimeofday_end:

.balign 32
vdso_time:
    mov r10, rdi
    xor edi, edi
    mov ecx, 1
    read_clock
    split_seconds
    mov rax, rdx
    test r10, r10
    jz 1f
    mov [r10], rax
1:  ret
vdso_time_end:

.balign 32
vdso_getcpu:
    mov eax, 0x7b                       # the limit of this segment is the CPU's number
    lsl eax, eax
    test rdi, rdi
    jz 1f
    mov ecx, eax
    and ecx, 0xfff
    mov [rdi], ecx
1:  test rsi, rsi
    jz 2f
    shr eax, 12
    mov [rsi], eax
2:  xor eax, eax
    ret
vdso_getcpu_end:

.balign 32
vdso_clock_getres:
    cmp edi, 11
    ja 9f
    mov ecx, 0x893                      # all of the above but the coarse ones
    bt ecx, edi
    jnc 9f
    test rsi, rsi
    jz 1f
    mov qword ptr [rsi], 0
    mov qword ptr [rsi + 8], 1
1:  xor eax, eax
    ret
9:  mov eax, 229
    syscall
    ret
vdso_clock_getres_end:

vdso_end:
.purgem vdso_symbol
.purgem read_clock
.purgem split_seconds
